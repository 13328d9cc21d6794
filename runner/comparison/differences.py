"""Owns what else differs between two runs: latency, tokens, cost, and how rows ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runner.comparison.model import Difference
from runner.records import STATUSES
from runner.statistics import amount_difference, paired_difference

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from runner.comparison.pairing import Pairs
    from runner.comparison.reading import Rows
    from runner.statistics import Estimate

_QUANTILES = {
    "latency_s": (("latency_p50", 0.5), ("latency_p95", 0.95)),
    "first_token_s": (("first_token", 0.5),),
}
_MEANS = (("prompt_tokens", "tokens/row"), ("completion_tokens", "tokens/row"), ("cost_usd", "USD/row"))
_OUTCOMES = ("failed", "truncated", "refused", "content_filter")


def find_differences(pairs: Pairs, base: Rows, run: Rows) -> dict[str, Difference]:
    """Return the figures of the paired rows in both runs, by name; the total cost is that of the whole runs.

    Times, tokens and cost are those of pairs that both runs answered. One column of each run is held at a time.
    """
    found: dict[str, Difference] = {}
    for column in _QUANTILES:
        found |= _of_quantiles(pairs, column, base, run)
    for column, unit in _MEANS:
        values = pairs.base.means(base.measured(column)), pairs.run.means(run.measured(column))
        found[column] = _paired(pairs, *values, unit, amount_difference)
    found["total_cost_usd"] = _difference("USD", base.source.cost_usd, run.source.cost_usd)
    for status in _OUTCOMES:
        number = STATUSES.index(status)
        fractions = pairs.base.means((base.statuses == number) * 1.0), pairs.run.means((run.statuses == number) * 1.0)
        found[f"{status}_fraction"] = _paired(pairs, *fractions, "of rows", paired_difference)
    return found


def _of_quantiles(pairs: Pairs, column: str, base: Rows, run: Rows) -> dict[str, Difference]:
    """Compare quantiles of the rows, not of means, of pairs that have a value in both runs."""
    values = [rows.measured(column) for rows in (base, run)]
    both = ~np.isnan(pairs.base.means(values[0])) & ~np.isnan(pairs.run.means(values[1]))
    known = [one[side.rows_of(both)] for one, side in zip(values, (pairs.base, pairs.run), strict=True)]
    found = {}
    for name, share in _QUANTILES[column]:
        figures = [float(np.nanquantile(one, share)) if len(one) else None for one in known]
        found[name] = _difference("s", *figures)
    return found


def _paired(
    pairs: Pairs,
    base: NDArray[np.float64],
    run: NDArray[np.float64],
    unit: str,
    estimate_from: Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]], Estimate],
) -> Difference:
    both = ~np.isnan(base) & ~np.isnan(run)
    if not both.any():
        return Difference(unit, None, None, None)
    first, second = base[both], run[both]
    estimate = estimate_from(first, second, pairs.samples[both])
    # Adding zero makes of -0.0 what people write.
    interval = (estimate.interval.low + 0.0, estimate.interval.high + 0.0) if estimate.interval else None
    return Difference(unit, float(first.mean()), float(second.mean()), estimate.difference, interval)


def _difference(unit: str, base: float | None, run: float | None) -> Difference:
    return Difference(unit, base, run, None if base is None or run is None else run - base)
