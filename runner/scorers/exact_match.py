"""Owns the scorer exact_match: 1 where the answer is the target, once both are made comparable; else 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.scorers.normal import Normalisation, normaliser, targets_of
from runner.scorers.scorer import NO_TARGET, RIGHT, WRONG, Scorer

if TYPE_CHECKING:
    from runner.records import Score
    from runner.scorers.scorer import Setting


@dataclass(frozen=True, slots=True)
class Options(Normalisation):
    """What does not count when an answer is compared with the target."""


def make(options: Options, _setting: Setting) -> Scorer:
    """Return the scorer."""
    normal = normaliser(options)

    def match(text: str | None, target: str | None) -> Score:
        if target is None:
            return NO_TARGET
        # Most right answers are right as they are.
        return RIGHT if text == target or normal(text or "") == normal(target) else WRONG

    def match_any(text: str | None, target: str | None) -> Score:
        if target is None:
            return NO_TARGET
        found = normal(text or "")
        return RIGHT if any(found == normal(one) for one in targets_of(target, any_of=True)) else WRONG

    return Scorer(
        ("text", "target"),
        match_any if options.any_of else match,
        answer=lambda text, _: normal(text or ""),
    )
