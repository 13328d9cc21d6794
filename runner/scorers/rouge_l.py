"""Owns the scorer rouge_l: the longest common subsequence of words with the target, by rouge-score. From 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from runner.records import Score
from runner.scorers.extra import library, shortened
from runner.scorers.normal import targets_of
from runner.scorers.scorer import NO_TARGET, Scorer

if TYPE_CHECKING:
    from runner.scorers.scorer import Setting


@dataclass(frozen=True, slots=True)
class Options:
    """Which of ROUGE-L's measures, and of what words."""

    measure: Literal["fmeasure", "precision", "recall"] = field(
        default="fmeasure", metadata={"description": "Which measure of ROUGE-L."}
    )
    stem: bool = field(default=False, metadata={"description": "Compare English words without their endings."})
    any_of: bool = field(
        default=False, metadata={"description": "The target is a JSON list of references; the best one counts."}
    )


def make(options: Options, _setting: Setting) -> Scorer:
    """Return the scorer. Raises ConfigError without the library."""
    rouge = library("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=options.stem)

    def compare(text: str | None, target: str | None) -> Score:
        if target is None:
            return NO_TARGET
        answer, note = shortened(text, target)
        found = (rouge.score(one, answer)["rougeL"] for one in targets_of(target, any_of=options.any_of))
        return Score(max(float(getattr(one, options.measure)) for one in found), note)

    return Scorer(("text", "target"), compare)
