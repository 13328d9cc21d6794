"""Owns whether one server is asked at all: a breaker that opens when it is out. Pure: clock and chance are arguments.

Closed, everything is let through. After so many failures with no answer between it opens: nothing is sent for a time
that doubles up to a cap. Then it is half open: one request goes as a probe. Any answer closes the breaker.

A server that cannot be connected to, or says that it is overloaded, is what failed, whatever the row. A 5xx, a time-out
or a cut answer may be a row's own doing, so such failures count once for each row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

# Opening for a fraction of the time drawn at random: many runs on one server do not come back at the same instant.
_JITTER = 0.2
_MAX_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, for how long (seconds), and how long a run holds on while every server is out.

    With these a server that is out gets less than two requests a minute once the first minute is over.
    """

    failures: int = 10
    first_open_s: float = 1.0
    most_open_s: float = 60.0
    give_up_s: float = 900.0


class Health(Enum):
    """What an attempt that failed says of its server."""

    SOUND = auto()  # it answered, whatever it said
    DOWN = auto()  # it failed, and would have failed with any row
    BROKEN = auto()  # it failed, perhaps because of the row
    UNKNOWN = auto()  # nothing


class BreakerState(Enum):
    """Whether requests are let through: all, none, or one at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


@dataclass(frozen=True, slots=True)
class BreakerStatistics:
    """A breaker as of now: `failures` since the last answer, `openings` in all, `open_for_s` since it was closed."""

    state: BreakerState
    failures: int
    openings: int
    open_for_s: float


class Breaker:
    """The breaker of one server. `sound_at` is when it last answered."""

    __slots__ = (
        "_doublings",
        "_failures",
        "_openings",
        "_probe",
        "_probes",
        "_retry_at",
        "_rows",
        "opened_at",
        "sound_at",
    )

    def __init__(self) -> None:
        self.sound_at = -math.inf
        self.opened_at: float | None = None
        self._retry_at = 0.0
        self._doublings = 0
        self._probe = self._probes = 0
        self._failures = 0
        self._rows: set[Hashable] = set()
        self._openings = 0

    def wait_s(self, now: float) -> float:
        """Return how long nothing is let through: 0.0 for not at all, infinite while a probe is under way."""
        if self.opened_at is None:
            return 0.0
        return math.inf if self._probe else max(0.0, self._retry_at - now)

    def admit(self) -> int:
        """Note that a request goes out, while this is not closed; return its number as a probe."""
        self._probes += 1
        self._probe = self._probes
        return self._probe

    def succeed(self, now: float) -> None:
        """Note an answer."""
        self.sound_at = now
        if self._failures:
            self._failures = 0
            self._rows.clear()
        if self.opened_at is not None:
            self.opened_at, self._probe, self._doublings = None, 0, 0

    def fail(self, now: float, probe: int, row: Hashable | None, policy: BreakerPolicy, *, random: float) -> None:
        """Note that the server failed; `row` is null where no row can be to blame, `random` lies in [0, 1).

        What fails while the breaker is open and is not the probe went out before, and tells nothing new.
        """
        if self.opened_at is not None:
            if probe and probe == self._probe:
                self._open(now, policy, random)
            return
        if row is not None:
            if row in self._rows:
                return
            self._rows.add(row)
        self._failures += 1
        if self._failures >= policy.failures:
            self.opened_at = now
            self._openings += 1
            self._open(now, policy, random)

    def lose(self, probe: int) -> None:
        """Note that a request ended without telling anything; after a probe the next one may go."""
        if probe and probe == self._probe:
            self._probe = 0

    def skip(self, since: float, now: float) -> None:
        """Leave out of the time that the server is out a pause, in which nothing was sent to it."""
        if self.opened_at is not None:
            self.opened_at += now - max(since, self.opened_at)

    def statistics(self, now: float) -> BreakerStatistics:
        """Return the state as of now."""
        if self.opened_at is None:
            return BreakerStatistics(BreakerState.CLOSED, self._failures, self._openings, 0.0)
        half = self._probe or now >= self._retry_at
        state = BreakerState.HALF_OPEN if half else BreakerState.OPEN
        return BreakerStatistics(state, self._failures, self._openings, now - self.opened_at)

    def _open(self, now: float, policy: BreakerPolicy, random: float) -> None:
        open_s = min(policy.most_open_s, policy.first_open_s * 2.0 ** min(self._doublings, _MAX_DOUBLINGS))
        self._retry_at = now + open_s * (1.0 - _JITTER * random)
        self._doublings += 1
        self._probe = 0
