"""Owns rows on their way: what is being worked on, what waits for its next attempt, and when all have ended."""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from runner.pipeline.budget import NOTHING
from runner.retry import History

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.limiter import Ticket
    from runner.pipeline.budget import Amount
    from runner.pipeline.spending import Reserve
    from runner.pipeline.splitting import Family
    from runner.records import Request

# The journal copies a body while it saves it, so that all that is under way takes twice as much at most.
_MOST_BYTES = 256 << 20


@dataclass(slots=True)
class Pending:
    """A request on its way.

    Times are monotonic: `ready_at` is since when it waits for a slot, `first_sent_at` its first send, `history` what it
    has been through since. `queued_s` sums the waits, `queued_before_s` those before the first send. `family` is that
    of the pack it is a part of, once something was refused; `whole` is the request with the encoding that is now tried
    without. `counted_bytes` is what the backlog counts for it, `ticket` the limiter's word for the attempt under way,
    `reserve` what the budget holds for it; `paid` is what it was charged of an answer that is not whole yet.
    """

    request: Request
    created_at: float
    ready_at: float
    first_sent_at: float = 0.0
    queued_before_s: float = 0.0
    history: History | None = None
    attempts: int = 0
    queued_s: float = 0.0
    family: Family | None = None
    whole: Request | None = None
    counted_bytes: int = 0
    ticket: Ticket | None = None
    reserve: Reserve | None = None
    paid: Amount = NOTHING

    def so_far(self) -> History:
        """Return what it has been through up to now."""
        history = self.history or History(first_sent_at=self.first_sent_at)
        return replace(history, paused_s=self.queued_s - self.queued_before_s)

    def part(self, request: Request) -> Pending:
        """Return a part of a pack on its own way: its waits and its deadline go on from the pack's."""
        return Pending(
            request,
            self.created_at,
            time.monotonic(),
            first_sent_at=self.first_sent_at,
            queued_before_s=self.queued_before_s,
            queued_s=self.queued_s,
            family=self.family,
        )


@dataclass(slots=True)
class Backlog:
    """Counts rows from the reader until they ended, and holds those that wait for their next attempt.

    The reader stops adding while `bound` rows wait, so that an outage cannot pile up the dataset in memory, and while
    the bodies of all rows that have not ended take `most_bytes`. A row whose body alone takes more goes by itself.
    """

    bound: int
    most_bytes: int = _MOST_BYTES
    _waiting: list[tuple[float, int, Pending]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _open_rows: int = 0
    _open_bytes: int = 0
    _short_of_bytes: bool = False
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

    async def add(self, body_bytes: int) -> None:
        """Count one more row, once there is room for it."""
        while len(self._waiting) >= self.bound or self._lacks_room(body_bytes):
            await self._changed.wait()
        self._open_rows += 1
        self._open_bytes += body_bytes

    def _lacks_room(self, body_bytes: int) -> bool:
        self._short_of_bytes = self._open_rows > 0 and self._open_bytes + body_bytes > self.most_bytes
        return self._short_of_bytes

    def split(self, parts: int) -> None:
        """Count a row as so many, each of which ends for itself."""
        self._open_rows += parts - 1

    def postpone(self, pending: Pending, wait_s: float) -> None:
        """Let a row wait for its next attempt."""
        heapq.heappush(self._waiting, (time.monotonic() + wait_s, next(self._numbers), pending))
        self._notify()

    def spread(self, parts: Sequence[Pending], *, taken: int = 0) -> None:
        """Let parts of one counted row go on at once; `taken` parts more are under way already."""
        self._open_rows += len(parts) + taken - 1
        now = time.monotonic()
        for part in parts:
            heapq.heappush(self._waiting, (now, next(self._numbers), part))
        self._notify()

    def end(self, body_bytes: int) -> None:
        """Count a row as ended, or as left unsent by a run that stops; `body_bytes` as it was added."""
        self._open_rows -= 1
        self._open_bytes -= body_bytes
        if self.finished or self._short_of_bytes:
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
