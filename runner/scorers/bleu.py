"""Owns the scorer bleu: n-grams of words shared with the target, sentence by sentence, by sacrebleu. From 0 to 100."""

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
    """What sacrebleu's BLEU takes; n-grams that an answer is too short for do not count (effective order)."""

    tokenise: Literal["13a", "intl", "char", "zh", "none"] = field(
        default="13a", metadata={"description": "How sacrebleu finds words."}
    )
    smooth: Literal["exp", "floor", "add-k", "none"] = field(
        default="exp", metadata={"description": "How sacrebleu smooths n-grams that do not occur."}
    )
    ignore_case: bool = field(default=False, metadata={"description": "Upper and lower case are the same."})
    any_of: bool = field(default=False, metadata={"description": "The target is a JSON list of references."})


def make(options: Options, _setting: Setting) -> Scorer:
    """Return the scorer. Raises ConfigError without the library."""
    bleu = library("sacrebleu").BLEU(
        effective_order=True,
        tokenize=options.tokenise,
        smooth_method=options.smooth,
        lowercase=options.ignore_case,
    )

    def compare(text: str | None, target: str | None) -> Score:
        if target is None:
            return NO_TARGET
        answer, note = shortened(text, target)
        return Score(float(bleu.sentence_score(answer, targets_of(target, any_of=options.any_of)).score), note)

    return Scorer(("text", "target"), compare)
