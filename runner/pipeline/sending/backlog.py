"""Owns rows on their way: what is being worked on, what waits for its next attempt, and when all have ended.

A row whose wait is over goes on when the retry budget lets it; until then it is deferred, in the order of the waits.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from runner.awake import awake_s
from runner.pipeline.sending.budget import NOTHING
from runner.pipeline.sending.outage import Standing
from runner.retry import History, RetryBudget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.limiter import Replica, Turn
    from runner.pipeline.sending.bounds import Reserve
    from runner.pipeline.sending.budget import Amount
    from runner.pipeline.sending.splitting import Family
    from runner.records import Request
    from runner.retry import Streak

_STANDING = Standing()
# The journal copies a body while it saves it, so that all that is under way takes twice as much at most.
_MOST_BYTES = 256 << 20
# As long as there are answers, so many rows may be deferred before the reader waits for them.
_MOST_DEFERRED = 4096


@dataclass(slots=True)
class Pending:
    """A request on its way.

    Times are those of `awake`: `ready_at` is since when it waits for a slot, `first_sent_at` its first send, `history`
    what it has been through since. `queued_s` sums the waits, `queued_before_s` those before the first send. `family`
    is that of the pack it is a part of, once something was refused; `whole` is the request with the encoding that is
    now tried without. `counted_bytes` is what the backlog counts for it, `turn` the pool's word for the attempt under
    way, `last` the server that failed at it last, `standing` how the servers stood then, `failed_at` when it first
    failed at one that was not out.
    `kept` says that an answer is stored already, which another one may replace.
    `streak` is what it failed of lately, `retry_cost` what its next attempt takes out of the retry budget.
    `reserve` is what the run's budget holds for it, `paid` what it was charged of an answer that is not whole yet.
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
    turn: Turn | None = None
    last: Replica | None = None
    failed_at: float = 0.0
    standing: Standing = _STANDING
    kept: bool = False
    streak: Streak | None = None
    retry_cost: float = 0.0
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
            awake_s(),
            first_sent_at=self.first_sent_at,
            queued_before_s=self.queued_before_s,
            queued_s=self.queued_s,
            family=self.family,
            last=self.last,
            failed_at=self.failed_at,
        )


@dataclass(slots=True)
class Backlog:
    """Counts rows from the reader until they ended, and holds those that wait for their next attempt.

    The reader stops adding while `bound` rows wait, so that an outage cannot pile up the dataset in memory, and while
    the bodies of all rows that have not ended take `most_bytes`. A row whose body alone takes more goes by itself.
    Deferred rows stop it later, so that fresh ones, whose answers fill the budget, keep flowing; but not to a server
    that answers nothing.
    """

    bound: int
    most_bytes: int = _MOST_BYTES
    budget: RetryBudget = field(default_factory=RetryBudget)
    _waiting: list[tuple[float, int, Pending]] = field(default_factory=list)
    _deferred: deque[Pending] = field(default_factory=deque)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _open_rows: int = 0
    _open_bytes: int = 0
    _short_of_bytes: bool = False
    _reading: bool = True
    _reader_waits: bool = False
    _changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def waiting(self) -> int:
        """How many rows wait for their next attempt."""
        return len(self._waiting) + len(self._deferred)

    @property
    def deferred(self) -> int:
        """How many of them wait for the retry budget."""
        return len(self._deferred)

    @property
    def finished(self) -> bool:
        """Whether the reader is through and every row ended."""
        return not self._reading and not self._open_rows

    def try_add(self, body_bytes: int) -> bool:
        """Count one more row if there is room for it now."""
        if self._is_full() or self._lacks_room(body_bytes):
            return False
        self._open_rows += 1
        self._open_bytes += body_bytes
        return True

    async def add(self, body_bytes: int) -> None:
        """Count one more row, once there is room for it."""
        while not self.try_add(body_bytes):
            if not self._reader_waits:
                self._reader_waits = True
                self._notify()  # from now on what waits is all that is sent
            await self._changed.wait()
        self._reader_waits = False

    def _is_full(self) -> bool:
        most = self.bound if self.budget.failures_in_a_row >= self.bound else max(self.bound, _MOST_DEFERRED)
        return len(self._waiting) >= self.bound or len(self._deferred) >= most

    def _lacks_room(self, body_bytes: int) -> bool:
        self._short_of_bytes = self._open_rows > 0 and self._open_bytes + body_bytes > self.most_bytes
        return self._short_of_bytes

    def split(self, parts: int) -> None:
        """Count a row as so many, each of which ends for itself."""
        self._open_rows += parts - 1

    def postpone(self, pending: Pending, wait_s: float, *, cost: float = 0.0) -> None:
        """Let a row wait for its next attempt, which takes `cost` out of the retry budget. Then it is ready."""
        pending.retry_cost = cost
        pending.ready_at = awake_s() + wait_s
        heapq.heappush(self._waiting, (pending.ready_at, next(self._numbers), pending))
        self._notify()

    def spread(self, parts: Sequence[Pending], *, taken: int = 0) -> None:
        """Let parts of one counted row go on at once; `taken` parts more are under way already."""
        self._open_rows += len(parts) + taken - 1
        now = awake_s()
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
            changed, now = self._changed, awake_s()
            if (due := self._take_due(now)) is not None:
                self._notify()
                return due
            with anyio.move_on_after(self._left_s(now)):
                await changed.wait()
        return None

    def note_answer(self) -> None:
        """Fill the retry budget by an answer: a deferred row may go on, and so may a reader that is held by many."""
        self.budget.note_answer()
        if self._deferred and (self._reader_waits or self._deferred_for_s(awake_s()) <= 0.0):
            self._notify()

    def _take_due(self, now: float) -> Pending | None:
        """Take the next row that may go on. Its wait for a slot began when it was due, whatever the budget said."""
        deferred = len(self._deferred)
        while self._waiting and self._waiting[0][0] <= now:
            due_at, _, pending = heapq.heappop(self._waiting)
            pending.ready_at = due_at
            if pending.retry_cost <= 0.0:
                return pending
            self._deferred.append(pending)
        if self._deferred and self.budget.take(now, self._deferred[0].retry_cost, alone=self._alone):
            return self._deferred.popleft()
        if len(self._deferred) > deferred:
            self._notify()  # rows that were waited for have made room
        return None

    @property
    def _alone(self) -> bool:
        """Whether the rows that wait are all that is left to send, or all that may be."""
        return not self._reading or self._reader_waits

    def _deferred_for_s(self, now: float) -> float:
        return self.budget.wait_s(now, self._deferred[0].retry_cost, alone=self._alone) if self._deferred else math.inf

    def _left_s(self, now: float) -> float:
        until_due = self._waiting[0][0] - now if self._waiting else math.inf
        return max(0.0, min(until_due, self._deferred_for_s(now)))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
