"""Owns the scorer regex: what a pattern finds in the answer is compared with the target, or just has to be there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from runner.errors import ConfigError, Problem
from runner.records import Score
from runner.scorers.normal import targets_of
from runner.scorers.scorer import NO_TARGET, RIGHT, WRONG, Scorer

if TYPE_CHECKING:
    from runner.scorers.scorer import Setting

# A pattern is searched with the interpreter's lock held: a longer text would hold up the requests under way.
_LONGEST = 100_000
_NOT_FOUND = Score(0.0, "the pattern is not in the answer")


@dataclass(frozen=True, slots=True)
class Options:
    """What is looked for, and what it is compared with."""

    pattern: str = field(metadata={"description": "Python regular expression; its first group, or all, is taken."})
    compare: Literal["target", "nothing"] = field(
        default="target",
        metadata={"description": "target: what is found has to be the target; nothing: being found is enough."},
    )
    which: Literal["first", "last"] = field(
        default="first", metadata={"description": "Which of several places in the answer counts."}
    )
    ignore_case: bool = field(default=False, metadata={"description": "Upper and lower case are the same."})
    any_of: bool = field(
        default=False, metadata={"description": "The target is a JSON list, each of whose texts is a right answer."}
    )


def make(options: Options, _setting: Setting) -> Scorer:
    """Return the scorer. Raises ConfigError for what is no pattern."""
    try:
        pattern = re.compile(options.pattern, re.IGNORECASE if options.ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError([Problem("pattern", f"is no regular expression: {error}")]) from error

    def find(text: str | None) -> str | None:
        found = None
        for found in pattern.finditer((text or "")[:_LONGEST]):  # noqa: B007 - the last one is wanted
            if options.which == "first":
                break
        if found is None:
            return None
        return (found[1] or "") if pattern.groups else found[0]

    def compare(text: str | None, target: str | None) -> Score:
        if target is None:
            return NO_TARGET
        found = find(text)
        if found is None:
            return _NOT_FOUND
        wanted = targets_of(target, any_of=options.any_of)
        return RIGHT if any(_same(found, one, ignore_case=options.ignore_case) for one in wanted) else WRONG

    if options.compare == "nothing":
        return Scorer(("text",), lambda text: _NOT_FOUND if find(text) is None else RIGHT, answer=find)
    return Scorer(("text", "target"), compare, answer=lambda text, _: find(text))


def _same(found: str, target: str, *, ignore_case: bool) -> bool:
    found, target = found.strip(), target.strip()
    return found.casefold() == target.casefold() if ignore_case else found == target
