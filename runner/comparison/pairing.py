"""Owns which rows of two runs belong together: the same sample with the same content, asked for the same time.

Pure functions of arrays. Samples and contents are hashes, so that no row is an object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runner.statistics import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Identities:
    """What rows are: hashes of sample id and of content; `orders` numbers repeat and choice.

    `places` are those of the rows in their run, null where all of its rows are here.
    """

    samples: NDArray[np.int64]
    contents: NDArray[np.int64]
    orders: NDArray[np.int64]
    places: NDArray[np.int64] | None = None

    def at(self, places: NDArray[np.int64]) -> Identities:
        """Return some of a run's rows."""
        return Identities(self.samples[places], self.contents[places], self.orders[places], places)

    def placed(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places in their run of some of these rows."""
        return rows if self.places is None else self.places[rows]


@dataclass(frozen=True, slots=True)
class Side:
    """The rows of one run that are in pairs, by place: one for each pair, or several, and `pairs` says of which."""

    rows: NDArray[np.int64]
    pairs: NDArray[np.int64] | None
    count: int

    def means(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of each pair's rows, of those that have a value; NaN where none has."""
        values = column[self.rows]
        if self.pairs is None:
            return values
        there = ~np.isnan(values)
        rows = np.bincount(self.pairs[there], minlength=self.count)
        sums = np.bincount(self.pairs[there], weights=values[there], minlength=self.count)
        means: NDArray[np.float64] = np.divide(sums, rows, out=np.full(self.count, np.nan), where=rows > 0)
        return means

    def any(self, column: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Say of each pair whether one of its rows has it."""
        values = column[self.rows]
        if self.pairs is None:
            return values
        found: NDArray[np.bool_] = np.bincount(self.pairs[values], minlength=self.count) > 0
        return found

    def rows_of(self, pairs: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the places of all rows of some pairs."""
        return self.rows[pairs if self.pairs is None else pairs[self.pairs]]

    def first_rows(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of the first row of each of some pairs."""
        if self.pairs is None:
            return self.rows[pairs]
        _, firsts = np.unique(self.pairs, return_index=True)
        return self.rows[firsts[pairs]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of two runs, `count` of them; `samples` has a number below `sample_count` for the sample of each.

    With `by_means` a pair is a sample, with all its rows in each run; then samples are counted, else rows. `changed`
    are those with another content in the other run, `only_base` and `only_run` those that the other run does not have.
    """

    base: Side
    run: Side
    samples: NDArray[np.int64]
    sample_count: int
    only_base: int
    only_run: int
    changed: int
    by_means: bool

    @property
    def count(self) -> int:
        """Return the number of pairs."""
        return len(self.samples)


def pair(base: Identities, run: Identities) -> Pairs:
    """Pair two runs by sample, repeat and choice; where they have other numbers of these, by the means of samples."""
    by_means = len(base.orders) > 0 and len(run.orders) > 0 and _shape(base) != _shape(run)
    return _by_sample(base, run) if by_means else _by_row(base, run)


def _shape(rows: Identities) -> tuple[int, int]:
    """Return the highest numbers of repeat and choice."""
    repeats, choices = np.divmod(rows.orders, 2**31)
    return int(repeats.max()), int(choices.max())


def _by_row(base: Identities, run: Identities) -> Pairs:
    base_rows, run_rows = _matched(_hashes(base), _hashes(run))
    same = base.contents[base_rows] == run.contents[run_rows]
    alone = len(base.samples) - len(base_rows), len(run.samples) - len(run_rows)
    changed = int(np.count_nonzero(~same))
    if changed:
        base_rows, run_rows = base_rows[same], run_rows[same]
    # Without repeats and choices each row is a sample of its own.
    several = bool(run.orders[run_rows].any())
    samples, count = numbered(run.samples[run_rows]) if several else (np.arange(len(run_rows)), len(run_rows))
    base_side, run_side = (
        Side(one.placed(rows), None, len(rows)) for one, rows in ((base, base_rows), (run, run_rows))
    )
    return Pairs(base_side, run_side, samples, count, *alone, changed, by_means=False)


def _by_sample(base: Identities, run: Identities) -> Pairs:
    base_known, base_firsts = np.unique(base.samples, return_index=True)
    run_known, run_firsts = np.unique(run.samples, return_index=True)
    base_places, run_places = _matched(base_known, run_known)
    same = base.contents[base_firsts[base_places]] == run.contents[run_firsts[run_places]]
    alone = len(base_known) - len(base_places), len(run_known) - len(run_places)
    paired, firsts = run_known[run_places][same], run_firsts[run_places][same]
    # Hashes differ from process to process; the order of pairs, and with it every interval, must not.
    numbers = np.empty(len(paired), dtype=np.int64)
    numbers[np.argsort(firsts)] = np.arange(len(paired))
    base_side, run_side = _side(base, paired, numbers), _side(run, paired, numbers)
    changed = int(np.count_nonzero(~same))
    samples = np.arange(len(paired))
    return Pairs(base_side, run_side, samples, len(paired), *alone, changed, by_means=True)


def _side(one: Identities, paired: NDArray[np.int64], numbers: NDArray[np.int64]) -> Side:
    found, rows = _matched(paired, one.samples)
    return Side(one.placed(rows), numbers[found], len(paired))


def _hashes(rows: Identities) -> NDArray[np.int64]:
    """Return a hash of sample, repeat and choice of each row."""
    hashes: NDArray[np.int64] = rows.samples ^ (rows.orders.view(np.uint64) * _SPREAD).view(np.int64)
    return hashes


def _matched(base: NDArray[np.int64], run: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where in both stands what is in both, in the order of the second; in the first nothing stands twice."""
    if not len(base):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    base_order, run_order = np.argsort(base), np.argsort(run)
    # Looked up in order: at random most of the time goes to waiting for memory.
    base_sorted, run_sorted = base[base_order], run[run_order]
    found = np.minimum(np.searchsorted(base_sorted, run_sorted), len(base) - 1)
    there = base_sorted[found] == run_sorted
    base_places, run_places = base_order[found[there]], run_order[there]
    order = np.argsort(run_places)
    return base_places[order], run_places[order]
