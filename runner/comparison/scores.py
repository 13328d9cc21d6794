"""Owns the comparison of one score over pairs: means, difference, interval, verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runner.comparison.model import ScoreComparison
from runner.comparison.pairing import answered
from runner.statistics import binary_difference, clustered, judge, mean_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runner.comparison.pairing import Pairs
    from runner.scorers import ScorerKind
    from runner.statistics import Estimate

# Differences within 2 % of the way from worst to best are none that matter.
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class ScorePairs:
    """The pairs of one score in which both runs answered: values, and which of the pairs these are."""

    base: NDArray[np.float64]
    run: NDArray[np.float64]
    which: NDArray[np.int64]


def compare_score(
    name: str, scorer: str, kind: ScorerKind, pairs: Pairs, *, first_choices: bool
) -> tuple[ScoreComparison, ScorePairs]:
    """Compare one score; with `first_choices` it stands on choice 0 only. Returns the values of its pairs, too."""
    base, run = pairs.base.scores[name][pairs.base_rows], pairs.run.scores[name][pairs.run_rows]
    own = np.ones(len(base), dtype=bool)
    if first_choices and not pairs.by_means:
        own = pairs.base.choices[pairs.base_rows] == 0
    base_answered = answered(pairs.base)[pairs.base_rows]
    run_answered = answered(pairs.run)[pairs.run_rows]
    means_all = _means_of_all(base[own], run[own], kind.worst)
    if kind.worst is None:
        valid = own & base_answered & run_answered & ~np.isnan(base) & ~np.isnan(run)
    else:
        valid = own & base_answered & run_answered & ~(np.isnan(base) & np.isnan(run))
        base, run = (np.where(np.isnan(values), kind.worst, values) for values in (base, run))
    which = np.flatnonzero(valid)
    chosen = ScorePairs(base[which], run[which], which)
    samples = int(np.count_nonzero(np.bincount(pairs.samples[which], minlength=pairs.count)))
    estimate = _estimate(chosen, pairs, samples, kind)
    tolerance = _tolerance(chosen, kind)
    better = (chosen.run < chosen.base) if kind.lower_is_better else (chosen.run > chosen.base)
    found = estimate.interval if estimate else None
    return ScoreComparison(
        scorer=scorer,
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
        samples=samples,
        gained=int(better.sum()),
        lost=int((chosen.run != chosen.base).sum() - better.sum()),
        all=int(own.sum()),
        base_mean_all=means_all[0] if means_all else None,
        run_mean_all=means_all[1] if means_all else None,
        difference_all=means_all[1] - means_all[0] if means_all else None,
        unpaired={
            "base": int((own & ~base_answered & run_answered).sum()),
            "run": int((own & base_answered & ~run_answered).sum()),
            "both": int((own & ~base_answered & ~run_answered).sum()),
        },
    ), chosen


def _estimate(chosen: ScorePairs, pairs: Pairs, samples: int, kind: ScorerKind) -> Estimate | None:
    if not len(chosen.which):
        return None
    binary = all(bool(np.isin(values, (0.0, 1.0)).all()) for values in (chosen.base, chosen.run))
    if binary and samples == len(chosen.which):
        return binary_difference(samples, int((chosen.run > chosen.base).sum()), int((chosen.run < chosen.base).sum()))
    differences = clustered(pairs.samples[chosen.which], chosen.run - chosen.base, pairs.count)
    together = np.concatenate([chosen.base, chosen.run])
    span = kind.span if kind.span is not None else float(together.max() - together.min())
    return mean_difference(differences, span)


def _tolerance(chosen: ScorePairs, kind: ScorerKind) -> float:
    """Return the largest difference that does not matter: of the span; where there is none, of the base's mean."""
    if kind.span is not None:
        return _TOLERANCE * kind.span
    if not len(chosen.which):
        return 0.0
    in_unit = min(chosen.base.min(), chosen.run.min()) >= 0 and max(chosen.base.max(), chosen.run.max()) <= 1
    return _TOLERANCE * (1.0 if in_unit else abs(float(chosen.base.mean())))


def _means_of_all(
    base: NDArray[np.float64], run: NDArray[np.float64], worst: float | None
) -> tuple[float, float] | None:
    if worst is None or not len(base):
        return None
    first, second = (float(np.where(np.isnan(values), worst, values).mean()) for values in (base, run))
    return first, second
