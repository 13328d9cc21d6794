"""Owns what is counted of any number of rows in little memory: percentiles of times, and counts over time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Times are counted in buckets 1 % apart, from a microsecond to eleven days: a percentile is exact to ± 0.5 %.
_STEP: Final = math.log(1.01)
_LEAST_S: Final = 1e-6
_BUCKETS: Final = 2_780
# A bin is a second wide at first, and twice as wide whenever there would be more than these.
_MOST_BINS: Final = 512


@dataclass(slots=True)
class Times:
    """Counts of durations in seconds."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BUCKETS, np.int64))
    total_s: float = 0.0

    def add(self, seconds: NDArray[np.float64]) -> None:
        """Count durations; null (NaN) ones are left out."""
        known = seconds[np.isfinite(seconds)]
        places = np.log(np.maximum(known, _LEAST_S) / _LEAST_S) / _STEP
        self.counts += np.bincount(np.clip(places, 0, _BUCKETS - 1).astype(np.int64), minlength=_BUCKETS)
        self.total_s += float(known.sum())

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return int(self.counts.sum())

    def percentile(self, fraction: float) -> float | None:
        """Return a percentile in seconds; null without any duration. Below a microsecond it is 0."""
        if not self.count:
            return None
        place = int(np.searchsorted(np.cumsum(self.counts), math.ceil(fraction * self.count)))
        return 0.0 if place == 0 else _LEAST_S * math.exp((place + 0.5) * _STEP)

    def histogram(self, bars: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return edges (bars + 1, in seconds, evenly spaced in their logarithm) and counts of what was counted."""
        filled = np.flatnonzero(self.counts)
        if not len(filled):
            return np.array([]), np.array([], np.int64)
        width = max(1, math.ceil((filled[-1] + 1 - filled[0]) / bars))
        starts = np.arange(filled[0], filled[-1] + 1, width)
        edges = _LEAST_S * np.exp(np.append(starts, starts[-1] + width) * _STEP)
        return edges, np.add.reduceat(self.counts, starts)


@dataclass(slots=True)
class OverTime:
    """Counts of a few kinds of events in bins of time from 0, in seconds."""

    kinds: int
    width_s: float = 1.0
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.kinds, _MOST_BINS), np.int64)

    def add(self, seconds: NDArray[np.float64], kinds: NDArray[np.int64]) -> None:
        """Count events; those without a time (NaN) are left out, and those before 0 are at 0."""
        known = np.isfinite(seconds)
        seconds, kinds = np.maximum(seconds[known], 0.0), kinds[known]
        if not len(seconds):
            return
        while seconds.max() >= self.width_s * _MOST_BINS:
            self._widen()
        places = kinds * _MOST_BINS + (seconds / self.width_s).astype(np.int64)
        self.counts += np.bincount(places, minlength=self.counts.size).reshape(self.counts.shape)

    def per_second(self, bars: int) -> tuple[float, NDArray[np.float64]]:
        """Return the width of a bar in seconds, and events a second as an array [kinds, bars or fewer]."""
        filled = np.flatnonzero(self.counts.any(axis=0))
        last = int(filled[-1]) + 1 if len(filled) else 0
        step = max(1, math.ceil(last / bars))
        whole = np.zeros((self.kinds, math.ceil(last / step) * step), np.int64)
        whole[:, :last] = self.counts[:, :last]
        return self.width_s * step, whole.reshape(self.kinds, -1, step).sum(axis=2) / (self.width_s * step)

    def _widen(self) -> None:
        halves = self.counts.reshape(self.kinds, _MOST_BINS // 2, 2).sum(axis=2)
        self.counts = np.concatenate([halves, np.zeros_like(halves)], axis=1)
        self.width_s *= 2
