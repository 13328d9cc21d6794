"""Owns the scorer chrf: n-grams of characters shared with the target, by sacrebleu. From 0 to 100."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.records import Score
from runner.scorers.extra import library, shortened
from runner.scorers.normal import targets_of
from runner.scorers.scorer import NO_TARGET, Scorer

if TYPE_CHECKING:
    from runner.scorers.scorer import Setting


@dataclass(frozen=True, slots=True)
class Options:
    """What sacrebleu's CHRF takes."""

    char_order: int = field(default=6, metadata={"ge": 1, "le": 20, "description": "Longest n-gram of characters."})
    word_order: int = field(
        default=0, metadata={"ge": 0, "le": 10, "description": "Longest n-gram of words; 2 is chrF++."}
    )
    beta: int = field(default=2, metadata={"ge": 1, "le": 10, "description": "Weight of recall against precision."})
    ignore_case: bool = field(default=False, metadata={"description": "Upper and lower case are the same."})
    any_of: bool = field(default=False, metadata={"description": "The target is a JSON list of references."})


def make(options: Options, _setting: Setting) -> Scorer:
    """Return the scorer. Raises ConfigError without the library."""
    chrf = library("sacrebleu").CHRF(
        char_order=options.char_order,
        word_order=options.word_order,
        beta=options.beta,
        lowercase=options.ignore_case,
    )

    def compare(text: str | None, target: str | None) -> Score:
        if target is None:
            return NO_TARGET
        answer, note = shortened(text, target)
        return Score(float(chrf.sentence_score(answer, targets_of(target, any_of=options.any_of)).score), note)

    return Scorer(("text", "target"), compare)
