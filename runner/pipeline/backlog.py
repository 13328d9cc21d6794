"""Owns rows on their way: what is being worked on, what waits for its next attempt, and when all have ended."""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from runner.records import Request
    from runner.retry import History


@dataclass(slots=True)
class Pending:
    """A request on its way.

    Times are monotonic: `ready_at` is since when it waits for a slot, `first_sent_at` its first send, `history` what it
    has been through since. `queued_s` sums the waits, `queued_before_s` those before the first send.
    """

    request: Request
    created_at: float
    ready_at: float
    first_sent_at: float = 0.0
    queued_before_s: float = 0.0
    history: History | None = None
    attempts: int = 0
    queued_s: float = 0.0


@dataclass(slots=True)
class Backlog:
    """Counts rows from the reader until they ended, and holds those that wait for their next attempt.

    The reader stops adding while `bound` rows wait, so that an outage cannot pile up the dataset in memory.
    """

    bound: int
    _waiting: list[tuple[float, int, Pending]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _open_rows: int = 0
    _reading: bool = True
    _changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def waiting(self) -> int:
        """How many rows wait for their next attempt."""
        return len(self._waiting)

    @property
    def finished(self) -> bool:
        """Whether the reader is through and every row ended."""
        return not self._reading and not self._open_rows

    async def add(self) -> None:
        """Count one more row, once there is room for it."""
        while len(self._waiting) >= self.bound:
            await self._changed.wait()
        self._open_rows += 1

    def split(self, parts: int) -> None:
        """Count a row as so many, each of which ends for itself."""
        self._open_rows += parts - 1

    def postpone(self, pending: Pending, wait_s: float) -> None:
        """Let a row wait for its next attempt."""
        heapq.heappush(self._waiting, (time.monotonic() + wait_s, next(self._numbers), pending))
        self._notify()

    def end(self) -> None:
        """Count a row as ended, or as left unsent by a run that stops."""
        self._open_rows -= 1
        if self.finished:
            self._notify()

    def end_reading(self) -> None:
        """Note that no more rows will be added."""
        self._reading = False
        self._notify()

    async def next_due(self) -> Pending | None:
        """Return the next row whose wait is over; null when all rows have ended."""
        while not self.finished:
            changed = self._changed
            left = self._waiting[0][0] - time.monotonic() if self._waiting else None
            if left is not None and left <= 0:
                due = heapq.heappop(self._waiting)[2]
                self._notify()
                return due
            with anyio.move_on_after(left):
                await changed.wait()
        return None

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
