"""Owns what else differs between two runs: latency, tokens, cost, and how rows ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runner.comparison.model import Difference
from runner.records import STATUSES
from runner.statistics import clustered, mean_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runner.comparison.pairing import Pairs
    from runner.comparison.reading import Source

_QUANTILES = (
    ("latency_p50", "latency_s", 0.5),
    ("latency_p95", "latency_s", 0.95),
    ("first_token", "first_token_s", 0.5),
)
_MEANS = (("prompt_tokens", "tokens/row"), ("completion_tokens", "tokens/row"), ("cost_usd", "USD/row"))
_OUTCOMES = ("failed", "truncated", "refused", "content_filter")


def find_differences(pairs: Pairs, base: Source, run: Source) -> dict[str, Difference]:
    """Return the figures of the paired rows in both runs, by name; the total cost is that of the whole runs."""
    found: dict[str, Difference] = {}
    for name, column, share in _QUANTILES:
        values = [_values(pairs, column, side) for side in (0, 1)]
        known = [one[~np.isnan(one)] for one in values]
        figures = [float(np.quantile(one, share)) if len(one) else None for one in known]
        found[name] = _difference("s", *figures)
    for name, unit in _MEANS:
        found[name] = _paired(pairs, _values(pairs, name, 0), _values(pairs, name, 1), unit)
    found["total_cost_usd"] = _difference("USD", base.log.totals.cost, run.log.totals.cost)
    for status in _OUTCOMES:
        number = STATUSES.index(status)
        first = (pairs.base.statuses[pairs.base_rows] == number).astype(np.float64)
        second = (pairs.run.statuses[pairs.run_rows] == number).astype(np.float64)
        found[f"{status}_fraction"] = _paired(pairs, first, second, "of rows")
    return found


def _values(pairs: Pairs, column: str, side: int) -> NDArray[np.float64]:
    rows, chosen = ((pairs.base, pairs.base_rows), (pairs.run, pairs.run_rows))[side]
    values: NDArray[np.float64] = rows.measured[column][chosen].astype(np.float64)
    return values


def _paired(pairs: Pairs, base: NDArray[np.float64], run: NDArray[np.float64], unit: str) -> Difference:
    both = ~np.isnan(base) & ~np.isnan(run)
    if not both.any():
        return Difference(unit, None, None, None)
    first, second = base[both], run[both]
    span = float(max(first.max(), second.max()) - min(first.min(), second.min()))
    estimate = mean_difference(clustered(pairs.samples[both], second - first, pairs.count), span)
    interval = (estimate.interval.low, estimate.interval.high) if estimate.interval else None
    return Difference(unit, float(first.mean()), float(second.mean()), estimate.difference, interval)


def _difference(unit: str, base: float | None, run: float | None) -> Difference:
    return Difference(unit, base, run, None if base is None or run is None else run - base)
