"""Owns the scorer includes: 1 where the target stands somewhere in the answer, both made comparable; else 0."""

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
    """What does not count when the target is looked for in an answer."""


def make(options: Options, _setting: Setting) -> Scorer:
    """Return the scorer. An empty target would be found in any answer, and counts as none."""
    normal = normaliser(options)

    def look(text: str | None, target: str | None) -> Score:
        if target is None:
            return NO_TARGET
        wanted = [normal(one) for one in targets_of(target, any_of=options.any_of)]
        if not all(wanted):
            return NO_TARGET
        found = normal(text or "")
        return RIGHT if any(one in found for one in wanted) else WRONG

    return Scorer(("text", "target"), look)
