"""Owns pairing the rows of two runs: by sample, repeat and choice, where the content is the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.comparison.reading import Rows
from runner.records import STATUSES
from runner.scorers import ANSWERED, REFUSED

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SKIPPED = STATUSES.index("skipped")
_ANSWERED = np.array([status in ANSWERED | REFUSED for status in STATUSES])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which row of `base` belongs to which of `run`, in the order of base; `samples` are numbers below `count`.

    With `by_means` they are rows of samples, each the mean of a sample's rows; `base_at` and `run_at` always say where
    the pair (its first row) stands in the run's own rows.
    """

    base: Rows
    run: Rows
    base_rows: NDArray[np.int64]
    run_rows: NDArray[np.int64]
    base_at: NDArray[np.int64]
    run_at: NDArray[np.int64]
    samples: NDArray[np.int64]
    count: int
    only_base: int
    only_run: int
    changed: int
    by_means: bool


def answered(rows: Rows) -> NDArray[np.bool_]:
    """Say of each row whether it has an answer, a refusal too."""
    found: NDArray[np.bool_] = _ANSWERED[rows.statuses]
    return found


def pair(base: Rows, run: Rows, worst: dict[str, float | None]) -> Pairs:
    """Pair two runs; where they differ in repeats or choices, by the means of samples. Skipped rows are in no pair."""
    base_at, run_at = (np.flatnonzero(rows.statuses != _SKIPPED) for rows in (base, run))
    base, run = _taken(base, base_at), _taken(run, run_at)
    by_means = _shape(base) != _shape(run) and len(base.places) > 0 and len(run.places) > 0
    if by_means:
        base, firsts = _of_samples(base, worst)
        base_at = base_at[firsts]
        run, firsts = _of_samples(run, worst)
        run_at = run_at[firsts]
    _, base_rows, run_rows = np.intersect1d(base.places, run.places, return_indices=True)
    met = len(base_rows)
    same = base.contents[base_rows] == run.contents[run_rows]
    base_rows, run_rows = base_rows[same], run_rows[same]
    order = np.argsort(base_rows)  # hashes differ from process to process; the order of pairs must not
    base_rows, run_rows = base_rows[order], run_rows[order]
    samples, count = _numbered(base.samples[base_rows])
    return Pairs(
        base,
        run,
        base_rows,
        run_rows,
        base_at[base_rows],
        run_at[run_rows],
        samples,
        count,
        only_base=len(base.places) - met,
        only_run=len(run.places) - met,
        changed=met - len(base_rows),
        by_means=by_means,
    )


def _shape(rows: Rows) -> tuple[int, int]:
    """Return the highest numbers of repeat and choice."""
    return int(rows.repeats.max(initial=0)), int(rows.choices.max(initial=0))


def _taken(rows: Rows, at: NDArray[np.int64]) -> Rows:
    columns: dict[str, Any] = {
        name: getattr(rows, name)[at] for name in ("samples", "places", "contents", "repeats", "choices", "statuses")
    }
    return Rows(
        **columns,
        measured={name: values[at] for name, values in rows.measured.items()},
        scores={name: values[at] for name, values in rows.scores.items()},
    )


def _of_samples(rows: Rows, worst: dict[str, float | None]) -> tuple[Rows, NDArray[np.int64]]:
    """Return one row for each sample, with means; and where its first row stood.

    Among the answered rows of a sample that has a score, one without counts as the worst.
    """
    _, firsts, groups = np.unique(rows.samples, return_index=True, return_inverse=True)
    has_answer = answered(rows)
    scores = {}
    for name, values in rows.scores.items():
        filled, lowest = values, worst[name]
        if lowest is not None:
            scored = np.bincount(groups, weights=~np.isnan(values), minlength=len(firsts)) > 0
            filled = np.where(np.isnan(values) & has_answer & scored[groups], lowest, values)
        scores[name] = _means(groups, filled, len(firsts))
    first = _taken(rows, firsts)
    # A sample is answered where one of its rows is.
    any_answer = np.bincount(groups, weights=has_answer, minlength=len(firsts)) > 0
    statuses = np.where(any_answer & ~answered(first), np.int8(0), first.statuses)
    measured = {name: _means(groups, values, len(firsts)).astype(np.float32) for name, values in rows.measured.items()}
    return replace(first, places=first.samples, statuses=statuses, measured=measured, scores=scores), firsts


def _means(groups: NDArray[np.int64], values: NDArray[Any], count: int) -> NDArray[np.float64]:
    there = ~np.isnan(values)
    rows = np.bincount(groups[there], minlength=count)
    sums = np.bincount(groups[there], weights=values[there], minlength=count)
    return np.where(rows > 0, sums / np.maximum(rows, 1), np.nan)


def _numbered(hashes: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Return numbers of samples in the order in which they come, and how many there are."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse], len(first)
