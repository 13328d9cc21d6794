"""Owns how many retries a run may send: a bucket that answers fill, and a pace for when it is empty. Pure.

A retry mends what came by chance. Where most requests fail, retries are only more load on a server that has too much
already. So each takes one out of a bucket, into which ten answers put one back: failures of up to nine in a hundred
never empty it, and in a storm few are sent: a tenth of the answers. An empty bucket fails no row, it makes rows
wait. After Amazon's retry quota (a bucket of 500, 5 for a retry, 10 after a time-out) and Google's rule of a tenth.

Where nothing else goes out, no answer would fill the bucket. Retries then go at a pace that rises with each answer and
falls with each failure: slowly while the server is in trouble, soon as fast as it lets them once it is sound again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runner.errors import RateLimitError, RequestTimeoutError, StaleConnectionError

if TYPE_CHECKING:
    from runner.errors import RequestError

MOST = 100.0
PER_ANSWER = 0.1
SLOWEST_PER_S = 5.0
_FASTEST_PER_S = 1_000.0
# The pace rises while fewer than one in eight fails.
_RISE, _FALL = 1.1, 0.5
# Only with thirty answers in a row, or with few failures among more of them, does the pace come this far; then it holds
# beside fresh requests, too.
_SOUND_PER_S = 20 * SLOWEST_PER_S


def cost_of(error: RequestError) -> float:
    """Return what a retry after `error` takes out of the budget.

    A 429 takes nothing: the limiter slows down for it. Nor does a connection that was closed before anybody read the
    request. A time-out may have been billed, and kept the server busy longest.
    """
    if isinstance(error, (RateLimitError, StaleConnectionError)):
        return 0.0
    return 2.0 if isinstance(error, RequestTimeoutError) else 1.0


class RetryBudget:
    """The retries in hand. Times are monotonic seconds, arguments all of them."""

    __slots__ = ("_next_at", "_pace", "failures_in_a_row", "in_hand")

    def __init__(self) -> None:
        self.in_hand = MOST
        self.failures_in_a_row = 0
        self._pace = SLOWEST_PER_S
        self._next_at = -math.inf

    def note_answer(self) -> None:
        """Note that a request was answered."""
        self.in_hand = min(MOST, self.in_hand + PER_ANSWER)
        self.failures_in_a_row = 0
        self._pace = min(_FASTEST_PER_S, self._pace * _RISE)

    def note_failure(self) -> None:
        """Note a failure that costs a retry."""
        self.failures_in_a_row += 1
        self._pace = max(SLOWEST_PER_S, self._pace * _FALL)

    def wait_s(self, now: float, cost: float, *, alone: bool) -> float:
        """Return how long a retry still has to wait; infinite where only answers can help it.

        `alone` says that retries are all that the run has left to send.
        """
        if self.in_hand >= cost:
            return 0.0
        if alone or self._pace >= _SOUND_PER_S:
            return max(0.0, self._next_at - now)
        return math.inf

    def take(self, now: float, cost: float, *, alone: bool) -> bool:
        """Take a retry out if it may go now, and say whether it may."""
        if self.wait_s(now, cost, alone=alone) > 0.0:
            return False
        if self.in_hand >= cost:
            self.in_hand -= cost
        else:
            self._next_at = now + cost / self._pace
        return True
