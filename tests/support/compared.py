"""Owns comparisons made up for tests of what follows from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner.comparison import Comparison, RunFacts, ScoreComparison

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCORE = ScoreComparison(
    scorer="exact_match",
    base_mean=0.5,
    run_mean=0.5,
    difference=0.0,
    interval=(-0.01, 0.01),
    interval_method="adjusted Wald",
    p_value=1.0,
    minimum_detectable_effect=0.015,
    verdict="no difference",
    tolerance=0.02,
    lower_is_better=False,
    pairs=100,
    samples=100,
    gained=0,
    lost=0,
    all=100,
    base_mean_all=0.5,
    run_mean_all=0.5,
    difference_all=0.0,
    unpaired={"base": 0, "run": 0, "both": 0},
)


def score(difference: float | None = 0.0, verdict: str = "no difference", **more: Any) -> ScoreComparison:
    """Return a score whose difference is this, within ± 0.01."""
    interval = None if difference is None else (difference - 0.01, difference + 0.01)
    run_mean = None if difference is None else 0.5 + difference
    facts = {"difference": difference, "interval": interval, "run_mean": run_mean, "verdict": verdict, **more}
    return replace(_SCORE, **facts)


def comparison(
    scores: Mapping[str, ScoreComparison] | None = None, not_compared: Mapping[str, str] | None = None, **more: Any
) -> Comparison:
    """Return a comparison with these scores."""
    facts: dict[str, Any] = {
        "base": RunFacts("night1", "/outputs/night1", "demo", "m", "complete", 100),
        "run": RunFacts("night2", "/outputs/night2", "demo", "m", "complete", 100),
        "pairs": 100,
        "only_base": 0,
        "only_run": 0,
        "changed": 0,
        "by_sample_means": False,
        "verdict": "no difference",
        "scores": dict(scores or {}),
        "differences": {},
        "flips": [],
        "not_compared": dict(not_compared or {}),
    }
    return Comparison(**{**facts, **more})
