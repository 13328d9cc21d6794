"""Owns concurrency: the one task group of a run. Everything it calls is a plain function or one awaitable.

Closing flows left to right: the reader ends, every row ends, the todo stream closes, the workers end, the journal makes
its last commit and hands on its last segment, the sealer ends. A worker's row counts as done only when its frame is
durable; until then it holds its slot, so that no more answers than slots can be lost.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runner.awake import awake_s, watching_standstills
from runner.errors import CannotCreateError, RunnerError, StorageError, internal_error
from runner.pipeline.sending.backlog import Backlog, Pending
from runner.pipeline.sending.bounds import Bounds
from runner.pipeline.sending.control import Control, StopKind
from runner.pipeline.sending.counters import Counters, snapshot_of
from runner.pipeline.sending.dispatch import Dispatch, expected
from runner.pipeline.sending.families import Families
from runner.pipeline.sending.groupcommit import JournalWriter
from runner.pipeline.sending.learning import Learning
from runner.pipeline.sending.livecontrol import LiveControl
from runner.pipeline.sending.pace import note_pace
from runner.pipeline.sending.recording import Recorder
from runner.pipeline.sending.signals import let_go_when_cancelled, watch_signals
from runner.pipeline.sending.spending import Spending
from runner.pipeline.sending.splitting import Splitter
from runner.pipeline.sending.state import SessionState
from runner.pipeline.sending.timelimit import stop_in_time
from runner.pipeline.storing.sealing import seal_segment
from runner.records import SkippedRow

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from runner.limiter import PoolStatistics
    from runner.pipeline.requests.learnt import Learnt
    from runner.pipeline.sending.sessionplan import SessionPlan
    from runner.progress import Snapshot
    from runner.records import Request

_PACKS_AHEAD = 2
_LEAST_AHEAD, _LEAST_WAITING = 64, 128


@dataclass(frozen=True, slots=True)
class SessionResult:
    """How a session ended: `control.kind` is null when every row ended."""

    control: Control
    counters: Counters
    wall_s: float
    learnt: Learnt


@dataclass(slots=True)
class _Crew:
    """The workers of a session, of whom there are as many as requests were ever allowed under way."""

    group: TaskGroup
    rows: MemoryObjectReceiveStream[Pending]
    ends: contextlib.ExitStack
    workers: int
    slots: int = 0


async def run_session(plan: SessionPlan) -> SessionResult:
    """Send everything that is left, until all of it ended or something stops the run."""
    return await _Session(plan).run()


class _Session:
    """The tasks of a session, and the streams between them."""

    def __init__(self, plan: SessionPlan) -> None:
        work, server, store = plan.work, plan.server, plan.store
        self.plan = plan
        self.control = Control()
        self.counters = Counters(server.price)
        self.backlog = Backlog(bound=max(2 * server.slots, _LEAST_WAITING))
        self.state = state = SessionState(self.control, self.counters, self.backlog)
        self._to_seal, self._sealable = anyio.create_memory_object_stream[Path](4)
        self.journal = JournalWriter(
            store.sealing.folder, store.run_id, store.manifest_digest, store.next_segment, self._to_seal
        )
        self.journal.slots = server.slots
        self.recorder = Recorder(store.session, self.journal, state, replaces=work.again)
        self.learning = self.families = None
        if plan.knowledge.adapting is not None:
            self.learning = Learning(
                plan.knowledge.adapting, plan.knowledge.remember, plan.audience, self.recorder, state
            )
        if work.packs is not None:
            splitter = Splitter(answer_bytes=work.packs.answer_bytes)
            self.families = Families(splitter, server.retry.max_attempts, plan.audience.on_event, self.recorder, state)
        self.spending = Spending(plan.terms.budget, Bounds(server.price, likelihoods=server.likelihood is not None))
        self.dispatch = Dispatch(plan, state, self.recorder, self.learning, self.families, self.spending)
        self._crew: _Crew | None = None

    async def run(self) -> SessionResult:
        await self.journal.open()
        with self.plan.audience.display, watching_standstills():
            async with anyio.create_task_group() as around:
                around.start_soon(self._seal)
                beside = anyio.CancelScope()
                around.start_soon(self._beside, beside)
                try:
                    await self._send_all()
                finally:
                    with anyio.CancelScope(shield=True):
                        beside.cancel()
                        if self.families is not None:
                            self.families.note_held()
                        await self.journal.finish()
                        self._to_seal.close()
        if self.journal.failure is not None:
            self.control.stop(StopKind.STORAGE, self.journal.failure)
        wall_s = awake_s() - self.counters.begun
        return SessionResult(self.control, self.counters, wall_s, self.spending.bounds.learnt)

    async def _send_all(self) -> None:
        slots = self.plan.server.slots
        # A pack is large: those that wait for a slot are few.
        ahead = max(slots, _LEAST_AHEAD) if self.plan.work.packs is None else _PACKS_AHEAD
        todo, rows = anyio.create_memory_object_stream[Pending](ahead)
        with contextlib.ExitStack() as ends:  # a task that is cancelled before it began closes nothing itself
            writing = [ends.enter_context(todo.clone()) for _ in range(2)]
            reading = [ends.enter_context(rows.clone()) for _ in range(slots)]
            # `rows` stays open until every task has ended: when a stop ends the workers first, a row handed on in that
            # instant has nobody to take it, and that is no error.
            async with rows, anyio.create_task_group() as group, todo:
                group.start_soon(self._read, writing[0])
                group.start_soon(self._return_postponed, writing[1])
                self._crew = crew = _Crew(group, rows, ends, slots)
                for number, one in enumerate(reading):
                    group.start_soon(self._work, one, number, crew)
                todo.close()
            self._crew = None

    async def _beside(self, scope: anyio.CancelScope) -> None:
        """Run what serves the others and ends with them: the journal's commits, signals, the display, a share."""
        audience = self.plan.audience
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(self.journal.serve)
                group.start_soon(self.journal.rotate_when_old)
                group.start_soon(self._show)
                group.start_soon(note_pace, self._look, audience.on_event)
                for shared in self.plan.server.shared:
                    group.start_soon(shared.serve)
                group.start_soon(let_go_when_cancelled, self.control)
                if (steering := self.plan.steering) is not None:
                    pool = self.plan.server.limiter
                    steered = LiveControl(steering, pool, self.state.under_way, self, audience.on_event)
                    group.start_soon(steered.serve)
                if self.plan.terms.max_wall_s is not None:
                    group.start_soon(stop_in_time, self.control, self.plan.terms.max_wall_s)
                if audience.catch_signals:
                    group.start_soon(watch_signals, self.control, self.counters, audience.say)

    # ------------------------------------------------------------------ rows in

    async def _read(self, todo: MemoryObjectSendStream[Pending]) -> None:
        async with todo:
            with self.control.waiting():
                try:
                    while not self.control.stopping:
                        batch = await anyio.to_thread.run_sync(next, self.plan.work.batches, None)
                        if batch is None:
                            break
                        for one in batch:
                            await self._add(one, todo)
                except RunnerError as error:  # the dataset changed or went away under the run
                    self.control.stop(StopKind.DATASET, error)
            self.backlog.end_reading()

    async def _add(self, one: Request | SkippedRow, todo: MemoryObjectSendStream[Pending]) -> None:
        if isinstance(one, SkippedRow):
            self.recorder.skip(one)
            return
        size = len(one.body)
        if not self.backlog.try_add(size):
            await self.backlog.add(size)
        pending = Pending(one, time.time(), awake_s(), counted_bytes=size)
        try:
            todo.send_nowait(pending)
        except anyio.WouldBlock:
            try:
                await todo.send(pending)
            except anyio.get_cancelled_exc_class():
                self.backlog.end(size)
                raise

    async def _return_postponed(self, todo: MemoryObjectSendStream[Pending]) -> None:
        async with todo:
            with self.control.waiting():
                while (pending := await self.backlog.next_due()) is not None:
                    await todo.send(pending)
            if self.learning is not None:
                self.learning.end_scouting()  # every row has ended: nobody need wait for a first answer any more

    # ------------------------------------------------------------------ workers

    async def _work(self, rows: MemoryObjectReceiveStream[Pending], number: int, crew: _Crew) -> None:
        """Work on rows until there are none; waiting is cancelled softly, a request under way only by letting go."""
        limiter = self.plan.server.limiter
        attempt, likelihood = self.dispatch.attempt, self.plan.server.likelihood
        with rows, anyio.CancelScope(shield=True) as scope:
            self.control.hard.add(scope)
            if self.learning is not None:
                await self.learning.hold_back(number)
            while not self.control.stopping:
                pending = await self._next(rows)
                if pending is None:
                    break
                if likelihood is None:
                    await attempt(pending)
                else:
                    async with likelihood.turn():
                        if not self.control.stopping:
                            await attempt(pending)
                if (slots := limiter.slots) != crew.slots:
                    self._resize(crew, slots)
            self.control.hard.discard(scope)

    def hire(self) -> None:
        """Let there be workers for all that may be under way by now, without waiting for an answer."""
        if self._crew is not None and (slots := self.plan.server.limiter.slots) != self._crew.slots:
            self._resize(self._crew, slots)

    def _resize(self, crew: _Crew, slots: int) -> None:
        """Let as many workers work as requests may be under way; too many of them only wait to be admitted."""
        crew.slots = self.journal.slots = slots
        while crew.workers < self.plan.server.limiter.workers:
            one = crew.ends.enter_context(crew.rows.clone())
            crew.group.start_soon(self._work, one, crew.workers, crew)
            crew.workers += 1

    async def _next(self, rows: MemoryObjectReceiveStream[Pending]) -> Pending | None:
        """Return the next row, admitted by the limiter; null when there is none or the run stops."""
        limiter, pending = self.plan.server.limiter, None
        try:
            pending = self.dispatch.make_ready(rows.receive_nowait())
            if self.spending.try_reserve(pending):
                pending.turn = limiter.try_admit(*expected(pending.request), last=pending.last)
                if pending.turn is not None:
                    return pending
        except anyio.WouldBlock:
            pass
        except anyio.EndOfStream:
            return None
        admitted: Pending | None = None
        with self.control.waiting(), contextlib.suppress(anyio.EndOfStream):
            pending = pending or self.dispatch.make_ready(await rows.receive())
            await self.dispatch.afford(pending)
            pending.turn = await limiter.admit(*expected(pending.request), last=pending.last)
            admitted = pending
        return None if self.control.stopping else admitted

    # ------------------------------------------------------------------ beside the rows

    async def _seal(self) -> None:
        """Seal segment after segment in a thread; what cannot be sealed stays in the journal, and the run stops."""
        store = self.plan.store
        async with self._sealable:
            async for segment in self._sealable:
                if self.control.kind in {StopKind.STORAGE, StopKind.INTERNAL}:
                    continue
                try:
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(seal_segment, store.sealing, store.log, segment)
                except (StorageError, CannotCreateError) as error:
                    self.control.stop(StopKind.STORAGE, error)
                except Exception as bug:  # noqa: BLE001 - the segment stays in the journal, for a mended version to seal
                    known = bug if isinstance(bug, RunnerError) else internal_error("sealing answers", bug)
                    self.control.stop(StopKind.INTERNAL, known)

    async def _show(self) -> None:
        display = self.plan.audience.display
        while True:
            display.show(self.snapshot())
            await anyio.sleep(display.every_s)

    def _look(self) -> tuple[Snapshot, PoolStatistics]:
        return self.snapshot(), self.plan.server.limiter.statistics()

    def snapshot(self) -> Snapshot:
        """Return how things stand now."""
        waiting, servers = self.backlog.waiting, self.plan.server.limiter.statistics()
        seen = snapshot_of(self.counters, self.plan.work, waiting=waiting, servers=servers)
        others = max((one.others for one in self.plan.server.shared), default=0)
        return replace(seen, oldest_s=self.state.under_way.oldest_s(awake_s()), shared_with=others)
