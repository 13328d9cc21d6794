"""Owns what a score comes to over some rows: both means and their denominators, the interval, and each status apart.

Pure functions of arrays with one place a row, which the summary of a run and its report share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runner.records import STATUSES
from runner.scorers.scorer import ANSWERED_PLACES
from runner.statistics import Clusters, clustered, interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runner.statistics import Interval


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """A score of some rows: NaN in `values` where a row has none.

    `samples` are numbers below `count`; null where each row is a sample of its own.
    """

    samples: NDArray[np.int64] | None
    count: int
    statuses: NDArray[np.int8]
    values: NDArray[np.float64]

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which rows have a score."""
        there: NDArray[np.bool_] = ~np.isnan(self.values)
        return there

    def at(self, rows: NDArray[np.bool_]) -> ScoredRows:
        """Return some of the rows."""
        if rows.all():
            return self
        samples = None if self.samples is None else self.samples[rows]
        return ScoredRows(samples, self.count, self.statuses[rows], self.values[rows])

    def renumbered(self) -> ScoredRows:
        """Return the same rows with their samples numbered among themselves, for where they are few of all."""
        if self.samples is None:
            return self
        known, samples = np.unique(self.samples, return_inverse=True)
        return ScoredRows(samples, len(known), self.statuses, self.values)

    def clusters(self) -> Clusters:
        """Return what the rows with a score come to, by sample."""
        there = self.there
        values = self.values if there.all() else self.values[there]
        if self.samples is None:
            return Clusters(values, np.ones(len(values), dtype=np.int64))
        return clustered(self.samples[there], values, self.count)


@dataclass(frozen=True, slots=True)
class Figure:
    """A score over some rows: its mean over those that have one, and over `all`, where a row without counts as worst.

    `answered` rows have an answer, a refusal too; `scored` are those with a score. Means are null without any row, and
    `mean_all` where nothing is the worst.
    """

    mean: float | None
    interval: Interval | None
    answered: int
    scored: int
    mean_all: float | None
    all: int


@dataclass(frozen=True, slots=True)
class StatusFigure:
    """How the rows of one status count: their number, how many of them have a score, and its mean, null without any."""

    rows: int
    scored: int
    mean: float | None


def figure(rows: ScoredRows, worst: float | None) -> Figure:
    """Return what a score comes to; `worst` is what a row without one counts as among all, null: as nothing."""
    there, clusters = rows.there, rows.clusters()
    everything = None if worst is None or not len(there) else float(np.where(there, rows.values, worst).mean())
    return Figure(
        mean=clusters.mean,
        interval=interval(clusters),
        answered=int(np.isin(rows.statuses, ANSWERED_PLACES).sum()),
        scored=int(there.sum()),
        mean_all=everything,
        all=len(there),
    )


def status_figures(rows: ScoredRows) -> dict[str, StatusFigure]:
    """Return how the rows of each status count that there is."""
    there = rows.there
    found = {}
    for place, status in enumerate(STATUSES):
        of_status = rows.statuses == place
        if count := int(np.count_nonzero(of_status)):
            values = rows.values[of_status & there]
            found[status] = StatusFigure(count, len(values), float(values.mean()) if len(values) else None)
    return found
