"""Owns the counters of a run: each commit carries its share, their sum over all commits is the run's summary."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# Latencies are kept as counts in buckets 5 % apart, so that percentiles over any number of sessions need no list of
# all latencies: a percentile is exact to ± 2.5 %.
_BUCKET = math.log(1.05)


@dataclass(slots=True)
class Totals:
    """Sums over attempts and rows. `by_status` counts rows; `unpriced` counts answers whose cost is unknown.

    `charged_tokens` and `charged_usd` are what the budget was charged beside the usage of answers: see `Attempt`.
    """

    by_status: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    http_requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost_usd: float = 0.0
    priced: int = 0
    unpriced: int = 0
    superseded: int = 0
    possibly_billed: int = 0
    charged_tokens: int = 0
    charged_usd: float = 0.0
    parse_notes: int = 0
    torn_bytes: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, other: Totals) -> None:
        """Add another share to this one."""
        self.by_status.update(other.by_status)
        self.latencies.update(other.latencies)
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def add_latencies(self, latencies_s: Sequence[float]) -> None:
        """Count latencies, in seconds."""
        buckets, counts = np.unique(latency_buckets(np.asarray(latencies_s, dtype=np.float64)), return_counts=True)
        self.latencies.update(dict(zip(buckets.tolist(), counts.tolist(), strict=True)))

    @property
    def cost(self) -> float | None:
        """Sum of the known costs in USD, null unless every answer's cost is known and there is one."""
        return self.cost_usd if self.priced and not self.unpriced else None

    def percentile(self, fraction: float) -> float | None:
        """Return a latency percentile in seconds, within 2.5 %; null without any latency."""
        wanted = fraction * sum(self.latencies.values())
        seen = 0
        for bucket in sorted(self.latencies):
            seen += self.latencies[bucket]
            if seen >= wanted:
                return round(math.exp((bucket + 0.5) * _BUCKET), 6)
        return None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `totals_from_json` reads."""
        data = asdict(self)
        data["by_status"] = {status: count for status, count in self.by_status.items() if count}
        data["latencies"] = {str(bucket): count for bucket, count in sorted(self.latencies.items())}
        return data


_NUMBERS = tuple(name for name in Totals.__dataclass_fields__ if name not in {"by_status", "latencies"})


def latency_buckets(latencies_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the numbers of the buckets that latencies in seconds fall into."""
    return np.floor(np.log(np.maximum(latencies_s, 1e-6)) / _BUCKET).astype(np.int64)


def totals_from_json(data: Mapping[str, Any]) -> Totals:
    """Read what `Totals.to_json` wrote; unknown counters of a later version are ignored."""
    totals = Totals(**{name: data[name] for name in _NUMBERS if name in data})
    totals.by_status = Counter(data.get("by_status", {}))
    totals.latencies = Counter({int(bucket): count for bucket, count in data.get("latencies", {}).items()})
    return totals
