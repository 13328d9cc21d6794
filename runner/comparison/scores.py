"""Owns the comparison of one score over pairs: means, difference, interval, verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runner.comparison.model import ScoreComparison
from runner.statistics import judge, paired_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runner.comparison.pairing import Pairs, Side
    from runner.comparison.reading import Rows
    from runner.scorers import ScorerKind

# Differences within 2 % of the way from worst to best are none that matter.
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Scored:
    """A score that both runs have: its name, its scorer's, and on which rows it stands: all, or those of choice 0."""

    name: str
    scorer: str
    kind: ScorerKind
    first_choices: bool


@dataclass(frozen=True, slots=True)
class ScorePairs:
    """The pairs of one score in which both runs answered: values, and which of the pairs these are."""

    base: NDArray[np.float64]
    run: NDArray[np.float64]
    which: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _OneRun:
    """One score in one run, a place for each pair: its mean over answered rows and over all, NaN where there is none.

    `stands`: it is a score of this pair at all; `answered`, `scored`: one of the rows has an answer, or a score.
    """

    stands: NDArray[np.bool_]
    answered: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    means: NDArray[np.float64]
    means_all: NDArray[np.float64] | None


def compare_score(score: Scored, pairs: Pairs, base_rows: Rows, run_rows: Rows) -> tuple[ScoreComparison, ScorePairs]:
    """Compare one score of two runs; returns the values of its pairs, too. Raises DamagedError."""
    kind = score.kind
    base, run = _one_run(score, pairs.base, base_rows), _one_run(score, pairs.run, run_rows)
    stands = base.stands & run.stands
    which = np.flatnonzero(stands & ~np.isnan(base.means) & ~np.isnan(run.means) & (base.scored | run.scored))
    chosen = ScorePairs(base.means[which], run.means[which], which)
    samples, tolerance = pairs.samples[which], _tolerance(chosen, kind)
    estimate = paired_difference(chosen.base, chosen.run, samples, kind.span) if len(which) else None
    better = int(np.count_nonzero(chosen.run < chosen.base if kind.lower_is_better else chosen.run > chosen.base))
    base_all, run_all = (_mean_of_all(one, stands) for one in (base, run))
    found = estimate.interval if estimate else None
    return ScoreComparison(
        scorer=score.scorer,
        base_mean=float(chosen.base.mean()) if len(which) else None,
        run_mean=float(chosen.run.mean()) if len(which) else None,
        difference=estimate.difference if estimate else None,
        interval=(found.low, found.high) if found else None,
        interval_method=found.method if found else None,
        p_value=estimate.p_value if estimate else None,
        minimum_detectable_effect=estimate.detectable if estimate else None,
        verdict=judge(estimate, tolerance, lower_is_better=kind.lower_is_better) if estimate else "inconclusive",
        tolerance=tolerance,
        lower_is_better=kind.lower_is_better,
        pairs=len(which),
        samples=int(np.count_nonzero(np.bincount(samples))) if len(which) else 0,
        gained=better,
        lost=int(np.count_nonzero(chosen.run != chosen.base)) - better,
        all=int(stands.sum()),
        base_mean_all=base_all,
        run_mean_all=run_all,
        difference_all=None if base_all is None or run_all is None else run_all - base_all,
        unpaired={
            "base": int(np.count_nonzero(stands & ~base.answered & run.answered)),
            "run": int(np.count_nonzero(stands & base.answered & ~run.answered)),
            "both": int(np.count_nonzero(stands & ~base.answered & ~run.answered)),
        },
    ), chosen


def _one_run(score: Scored, side: Side, rows: Rows) -> _OneRun:
    values, answered, worst = rows.scored(score.name), rows.answered, score.kind.worst
    own = rows.first_choices if score.first_choices else np.ones(len(values), dtype=np.bool_)
    scored = side.any(own & ~np.isnan(values))
    means_all = None
    if worst is not None:
        values[own & np.isnan(values)] = worst
        means_all = side.means(values)
    values[~(own & answered)] = np.nan
    return _OneRun(side.any(own), side.any(own & answered), scored, side.means(values), means_all)


def _mean_of_all(one: _OneRun, stands: NDArray[np.bool_]) -> float | None:
    return None if one.means_all is None or not stands.any() else float(one.means_all[stands].mean())


def _tolerance(chosen: ScorePairs, kind: ScorerKind) -> float:
    """Return the largest difference that does not matter: of the span; where there is none, of the base's mean."""
    if kind.span is not None:
        return _TOLERANCE * kind.span
    if not len(chosen.which):
        return 0.0
    in_unit = min(chosen.base.min(), chosen.run.min()) >= 0 and max(chosen.base.max(), chosen.run.max()) <= 1
    return _TOLERANCE * (1.0 if in_unit else abs(float(chosen.base.mean())))
