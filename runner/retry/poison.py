"""Owns telling a row that always fails, poison, from one that had bad luck: it is not worth all its attempts. Pure.

A row is poison when it met the same failure three times in a row while other rows were answered. The same is the same
kind, status and text, but for words with digits in them, which may be the id or the time of a request. A failure that a
retry has mended for any row comes by chance, and says nothing of a row that meets it again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.errors import DisconnectError, InvalidResponseError, ServerError

if TYPE_CHECKING:
    from runner.errors import RequestError

TIMES = 3
# What a request can do to its server. Time-outs and refused connections are the server's, and have their own bounds.
_TELLING = (ServerError, InvalidResponseError, DisconnectError)
_VARYING = re.compile(r"\S*\d\S*")
# A server that never says the same twice must not take memory for it; the texts of poison were seen long before.
_MOST_MENDED = 4096


@dataclass(frozen=True, slots=True)
class Streak:
    """The same failure, so many times without another between; `answered` counts the run's answers at the first."""

    sign: int
    times: int
    answered: int


class PoisonWatch:
    """What a session has learnt of failures that repeat, row by row; the rows carry their own streaks."""

    __slots__ = ("_mended",)

    def __init__(self) -> None:
        self._mended: set[int] = set()

    def lengthen(self, streak: Streak | None, error: RequestError, answered: int) -> Streak | None:
        """Return a row's streak after a failure; null after one that tells nothing of the row."""
        if not isinstance(error, _TELLING):
            return None
        sign = sign_of(error)
        if streak is None or streak.sign != sign:
            return Streak(sign, 1, answered)
        return Streak(sign, streak.times + 1, streak.answered)

    def note_mended(self, streak: Streak | None) -> None:
        """Note that a row was answered after a streak."""
        if streak is not None and len(self._mended) < _MOST_MENDED:
            self._mended.add(streak.sign)

    def is_poison(self, streak: Streak | None, answered: int) -> bool:
        """Say whether a row would fail like this for ever; `answered` counts the run's answers by now."""
        if streak is None or streak.times < TIMES or answered <= streak.answered:
            return False
        return streak.sign not in self._mended and len(self._mended) < _MOST_MENDED


def sign_of(error: RequestError) -> int:
    """Return what is the same for the same failures."""
    return hash((type(error), error.http_status, _VARYING.sub("#", error.message)))


def as_poison(error: RequestError, streak: Streak) -> RequestError:
    """Return a failure as that of a poison row, which no later session sends again by itself."""
    said = f"{error.message} ({streak.times} times the same, while other rows were answered)"
    final = type(error)(said, hint=error.hint, http_status=error.http_status, retry_after_s=error.retry_after_s)
    final.final = True
    return final
