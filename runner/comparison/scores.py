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

    def own_rows(self, rows: Rows) -> NDArray[np.bool_]:
        """Return the rows of a run that it stands on."""
        return rows.first_choices if self.first_choices else np.ones(len(rows.statuses), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class ScorePairs:
    """The pairs of one score in which both runs answered: values, and which of the pairs these are."""

    base: NDArray[np.float64]
    run: NDArray[np.float64]
    which: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _OneRun:
    """One score in one run, a place for each pair: its mean over the pair's answered rows, NaN where none has it.

    `answered`, `scored`: one of the rows has an answer, or a score. `mean_all` is over all pairs that it stands on.
    """

    answered: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    means: NDArray[np.float64]
    mean_all: float | None


def compare_score(score: Scored, pairs: Pairs, base_rows: Rows, run_rows: Rows) -> tuple[ScoreComparison, ScorePairs]:
    """Compare one score of two runs; returns the values of its pairs, too. Raises DamagedError."""
    kind = score.kind
    stands = pairs.base.any(score.own_rows(base_rows)) & pairs.run.any(score.own_rows(run_rows))
    base, run = _one_run(score, pairs.base, base_rows, stands), _one_run(score, pairs.run, run_rows, stands)
    which = np.flatnonzero(stands & ~np.isnan(base.means) & ~np.isnan(run.means) & (base.scored | run.scored))
    chosen = ScorePairs(base.means[which], run.means[which], which)
    samples, tolerance = pairs.samples[which], _tolerance(chosen, kind)
    estimate = paired_difference(chosen.base, chosen.run, samples, kind.span) if len(which) else None
    better = int(np.count_nonzero(chosen.run < chosen.base if kind.lower_is_better else chosen.run > chosen.base))
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
        base_mean_all=base.mean_all,
        run_mean_all=run.mean_all,
        difference_all=None if base.mean_all is None or run.mean_all is None else run.mean_all - base.mean_all,
        unpaired={
            "base": int(np.count_nonzero(stands & ~base.answered & run.answered)),
            "run": int(np.count_nonzero(stands & base.answered & ~run.answered)),
            "both": int(np.count_nonzero(stands & ~base.answered & ~run.answered)),
        },
    ), chosen


def _one_run(score: Scored, side: Side, rows: Rows, stands: NDArray[np.bool_]) -> _OneRun:
    values, worst = rows.scored(score.name), score.kind.worst
    own = score.own_rows(rows)
    scored = side.any(own & ~np.isnan(values))
    mean_all = None
    if worst is not None:
        values[own & np.isnan(values)] = worst
        mean_all = float(side.means(values)[stands].mean()) if stands.any() else None
    own &= rows.answered
    values[~own] = np.nan
    return _OneRun(side.any(own), scored, side.means(values), mean_all)


def _tolerance(chosen: ScorePairs, kind: ScorerKind) -> float:
    """Return the largest difference that does not matter: of the span; where there is none, of the base's mean."""
    if kind.span is not None:
        return _TOLERANCE * kind.span
    if not len(chosen.which):
        return 0.0
    in_unit = min(chosen.base.min(), chosen.run.min()) >= 0 and max(chosen.base.max(), chosen.run.max()) <= 1
    return _TOLERANCE * (1.0 if in_unit else abs(float(chosen.base.mean())))
