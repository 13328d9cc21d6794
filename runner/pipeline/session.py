"""Owns concurrency: the one task group of a run. Everything it calls is a plain function or one awaitable.

Closing flows left to right: the reader ends, every row ends, the todo stream closes, the workers end, the journal makes
its last commit and hands on its last segment, the sealer ends. A worker's row counts as done only when its frame is
durable; until then it holds its slot, so that no more answers than slots can be lost.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runner.crash_points import crash_point
from runner.errors import (
    CancelledError,
    CannotCreateError,
    ConnectError,
    DisconnectError,
    RequestError,
    RunnerError,
    StaleConnectionError,
    StorageError,
    UnsupportedError,
    internal_error,
    kind_of,
)
from runner.journal import FrameType
from runner.pipeline.adapting import too_few
from runner.pipeline.attempt import Outcome, attempt_of, failure_of, send
from runner.pipeline.backlog import Backlog, Pending
from runner.pipeline.codec import encode_attempt, encode_record, encode_skipped
from runner.pipeline.control import Control, StopKind
from runner.pipeline.groupcommit import JournalWriter
from runner.pipeline.sealing import seal_segment
from runner.pipeline.splitting import Encoding, Family, Move, Splitter, halves
from runner.progress import Snapshot
from runner.records import Record, SkippedRow
from runner.retry import GiveUp, History, Retry, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from runner.endpoints import Endpoint
    from runner.errors import RequestError
    from runner.folder.commits import CommitLog
    from runner.limiter import Limiter
    from runner.pipeline.adapting import Adapting, Lesson
    from runner.pipeline.likelihood import LikelihoodSender
    from runner.pipeline.omissions import OmissionWatch
    from runner.pipeline.packing import PackLimits
    from runner.pipeline.rows import Price
    from runner.pipeline.sealing import Sealing
    from runner.progress import Display
    from runner.records import Attempt, Request, Usage
    from runner.retry import Decision, RetryPolicy
    from runner.transport import Transport

# After the first interrupt, answers under way may still come in for this long.
_GRACE_S = 30.0
# A row whose server cannot even be connected to, this many times and before any answer, means that it is not there.
_CONNECTS_BEFORE_UNREACHABLE = 4
_PACKS_AHEAD = 2
# Until a first answer shows that the server takes the parameters, so many requests are under way and no more, for so
# long at most: a refusal comes at once, and all slots would meet it.
_SCOUTS = 2
_SCOUTING_S = 2.0


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Everything one session works with. `cases` is how many are left, `already_done` how many earlier sessions did.

    `packs` is set where a request may hold several samples.
    `remember` writes down what `adapting` has learnt; it is called in a thread.
    """

    number: int
    run_id: str
    manifest_digest: str
    next_segment: int
    batches: Iterator[list[Request | SkippedRow]]
    cases: int
    already_done: int
    endpoint: Endpoint
    server: str
    transport: Transport
    limiter: Limiter
    slots: int
    retry: RetryPolicy
    price: Price | None
    sealing: Sealing
    log: CommitLog
    display: Display
    on_event: Callable[[str, dict[str, object]], None]
    say: Callable[[str], None]
    catch_signals: bool
    omissions: OmissionWatch | None = None
    packs: PackLimits | None = None
    likelihood: LikelihoodSender | None = None
    adapting: Adapting | None = None
    remember: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Counters:
    """What a session has done so far; `added` counts requests for single choices beyond one for each case."""

    ended: int = 0
    added: int = 0
    answered: int = 0
    failed: int = 0
    in_flight: int = 0
    attempts: int = 0
    retries: int = 0
    rate_limited: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    last_answer_at: float = 0.0
    begun: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class SessionResult:
    """How a session ended: `control.kind` is null when every row ended."""

    control: Control
    counters: Counters
    wall_s: float


async def run_session(plan: SessionPlan) -> SessionResult:
    """Send everything that is left, until all of it ended or something stops the run."""
    return await _Session(plan).run()


class _Session:
    """The state that the tasks of a session share; all of it is touched by the event loop's thread alone."""

    def __init__(self, plan: SessionPlan) -> None:
        self.plan = plan
        self.control = Control()
        self.counters = Counters()
        self.backlog = Backlog(bound=2 * plan.slots)
        self.splitter = None if plan.packs is None else Splitter(answer_bytes=plan.packs.answer_bytes)
        self._holding: set[Family] = set()
        self._learning = anyio.Lock()
        self._scouted = anyio.Event()
        if plan.adapting is None or plan.adapting.accepted:
            self._scouted.set()
        self._to_seal, self._sealable = anyio.create_memory_object_stream[Path](4)
        self.journal = JournalWriter(
            plan.sealing.folder, plan.run_id, plan.manifest_digest, plan.next_segment, self._to_seal
        )
        self.journal.slots = plan.slots

    async def run(self) -> SessionResult:
        await self.journal.open()
        with self.plan.display:
            async with anyio.create_task_group() as around:
                around.start_soon(self._seal)
                beside = anyio.CancelScope()
                around.start_soon(self._beside, beside)
                try:
                    await self._send_all()
                finally:
                    with anyio.CancelScope(shield=True):
                        beside.cancel()
                        for _, _, attempt in (held for family in self._holding for held in family.held):
                            self._note(attempt)  # what a run that stops leaves unsent was refused all the same
                        await self.journal.finish()
                        self._to_seal.close()
        if self.journal.failure is not None:
            self.control.stop(StopKind.STORAGE, self.journal.failure)
        return SessionResult(self.control, self.counters, time.monotonic() - self.counters.begun)

    async def _send_all(self) -> None:
        # A pack is large: those that wait for a slot are few.
        ahead = self.plan.slots if self.plan.packs is None else _PACKS_AHEAD
        todo, rows = anyio.create_memory_object_stream[Pending](ahead)
        with contextlib.ExitStack() as ends:  # a task that is cancelled before it began closes nothing itself
            writing = [ends.enter_context(todo.clone()) for _ in range(2)]
            reading = [ends.enter_context(rows.clone()) for _ in range(self.plan.slots)]
            # `rows` stays open until every task has ended: when a stop ends the workers first, a row handed on in that
            # instant has nobody to take it, and that is no error.
            async with rows, anyio.create_task_group() as group, todo:
                group.start_soon(self._read, writing[0])
                group.start_soon(self._return_postponed, writing[1])
                for number, one in enumerate(reading):
                    group.start_soon(self._work, one, number)
                todo.close()

    async def _beside(self, scope: anyio.CancelScope) -> None:
        """Run what serves the others and ends with them: the journal's commits, signals and the display."""
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(self.journal.serve)
                group.start_soon(self.journal.rotate_when_old)
                group.start_soon(self._show)
                group.start_soon(self._let_go_when_cancelled)
                if self.plan.catch_signals:
                    group.start_soon(self._watch_signals)

    # ------------------------------------------------------------------ rows in

    async def _read(self, todo: MemoryObjectSendStream[Pending]) -> None:
        async with todo:
            with self._soft():
                try:
                    while not self.control.stopping:
                        batch = await anyio.to_thread.run_sync(next, self.plan.batches, None)
                        if batch is None:
                            break
                        for one in batch:
                            await self._add(one, todo)
                except RunnerError as error:  # the dataset changed or went away under the run
                    self.control.stop(StopKind.DATASET, error)
            self.backlog.end_reading()

    async def _add(self, one: Request | SkippedRow, todo: MemoryObjectSendStream[Pending]) -> None:
        if isinstance(one, SkippedRow):
            self.journal.note_skipped(encode_skipped(one))
            self.counters.ended += 1
            return
        await self.backlog.add(len(one.body))
        pending = Pending(one, time.time(), time.monotonic(), counted_bytes=len(one.body))
        try:
            todo.send_nowait(pending)
        except anyio.WouldBlock:
            try:
                await todo.send(pending)
            except anyio.get_cancelled_exc_class():
                self.backlog.end(len(one.body))
                raise

    async def _return_postponed(self, todo: MemoryObjectSendStream[Pending]) -> None:
        async with todo:
            with self._soft():
                while (pending := await self.backlog.next_due()) is not None:
                    pending.ready_at = time.monotonic()
                    await todo.send(pending)

    # ------------------------------------------------------------------ one row

    async def _work(self, rows: MemoryObjectReceiveStream[Pending], number: int) -> None:
        """Work on rows until there are none; waiting is cancelled softly, a request under way only by letting go."""
        with rows, anyio.CancelScope(shield=True) as scope:
            self.control.hard.add(scope)
            if number >= _SCOUTS and not self._scouted.is_set():
                with self._soft(), anyio.move_on_after(_SCOUTING_S):
                    await self._scouted.wait()
            while not self.control.stopping:
                pending = await self._next(rows)
                if pending is None:
                    break
                if self.plan.likelihood is None:
                    await self._attempt(pending)
                    continue
                async with self.plan.likelihood.turn():
                    if not self.control.stopping:
                        await self._attempt(pending)
            self.control.hard.discard(scope)

    async def _next(self, rows: MemoryObjectReceiveStream[Pending]) -> Pending | None:
        """Return the next row, admitted by the limiter; null when there is none or the run stops."""
        limiter, pending = self.plan.limiter, None
        try:
            pending = self._adapted(self._fitted(rows.receive_nowait()))
            if limiter.try_admit(pending.request.reserve_tokens):
                return pending
        except anyio.WouldBlock:
            pass
        except anyio.EndOfStream:
            return None
        admitted: Pending | None = None
        with self._soft(), contextlib.suppress(anyio.EndOfStream):
            pending = pending or self._adapted(self._fitted(await rows.receive()))
            await limiter.admit(pending.request.reserve_tokens)
            admitted = pending
        return admitted

    async def _attempt(self, pending: Pending) -> None:
        """Send a row once and act on what came of it."""
        plan, counters, request = self.plan, self.counters, pending.request
        sent_at, begun = time.time(), time.monotonic()
        pending.queued_s += begun - pending.ready_at
        pending.attempts += 1
        if not pending.first_sent_at:
            pending.first_sent_at, pending.queued_before_s = begun, pending.queued_s
        self.journal.note_start(request.key, pending.attempts)
        counters.in_flight += 1
        counters.attempts += 1
        try:
            if plan.likelihood is None:
                outcome = await send(plan.transport, plan.endpoint, request, answered_before=counters.answered > 0)
            else:
                outcome = await self._send_in_form(plan.likelihood, pending)
        except anyio.get_cancelled_exc_class():
            cut = Outcome(None, CancelledError("the run was interrupted while the request was under way"))
            self._note(attempt_of(request, pending.attempts, cut, sent_at, time.monotonic() - begun))
            raise
        finally:
            counters.in_flight -= 1
        crash_point("session:after-answer")
        if isinstance(outcome.error, StaleConnectionError) and pending.history and pending.history.free_retries:
            # Once is chance; a request whose connections keep breaking is what breaks them.
            outcome = Outcome(None, DisconnectError(outcome.error.message))
        plan.limiter.settle(request.reserve_tokens, outcome.usage.total_tokens)
        attempt = attempt_of(request, pending.attempts, outcome, sent_at, time.monotonic() - begun)
        if outcome.error is None:
            await self._accept(pending, outcome, attempt)
        elif plan.adapting is not None and (taught := plan.adapting.learn(request, outcome.response)):
            await self._learn(plan.adapting, taught, pending, attempt)
        else:
            await self._act_on(outcome.error, pending, outcome, attempt)

    async def _accept(self, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Learn from an answer what it teaches of the server, and store it."""
        plan, counters, request = self.plan, self.counters, pending.request
        counters.answered += 1
        self._count_usage(outcome.usage)
        counters.last_answer_at = time.monotonic()
        if plan.omissions is not None and (omission := plan.omissions.look(request, outcome.response)):
            self.control.stop(StopKind.DOOMED, omission)
        if plan.adapting is not None and plan.adapting.watches(request):
            await self._learn_from_answer(plan.adapting, pending, outcome)
        if self.splitter is not None:
            self._note_pack(self.splitter, pending, len(outcome.response.body) if outcome.response else 0)
        await self._end(pending, outcome, attempt)
        if pending.family is not None:
            await self._leave(pending.family)

    async def _send_in_form(self, likelihood: LikelihoodSender, pending: Pending) -> Outcome:
        earlier: list[Attempt] = []
        answered = self.counters.answered > 0
        try:
            return await likelihood.send(pending.request, pending.attempts, earlier, answered_before=answered)
        finally:
            for attempt in earlier:
                self._note(attempt)

    def _count_usage(self, usage: Usage) -> None:
        self.counters.tokens += usage.total_tokens or 0
        cost = self.plan.price.cost(usage) if self.plan.price else None
        if cost is None:
            self.counters.unpriced += 1
        else:
            self.counters.cost_usd += cost

    async def _act_on(self, error: RequestError, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Act on a failed attempt: record the failure, stop the run, or let the row wait for its next attempt."""
        plan, now = self.plan, time.monotonic()
        history = replace(
            pending.history or History(first_sent_at=pending.first_sent_at),
            paused_s=pending.queued_s - pending.queued_before_s,
        )
        decision = decide(error, history, plan.retry, now=now, random=random.random())  # noqa: S311 - jitter
        self.counters.rate_limited += attempt.http_status == 429  # noqa: PLR2004 - Too Many Requests
        plan.on_event(
            "attempt failed",
            {"row": pending.request.cases[0].sample_id, "attempt": attempt.number, "error": error.message},
        )
        if getattr(decision, "freeze_s", None):
            plan.limiter.freeze(now + decision.freeze_s)  # type: ignore[union-attr,operator] # checked by getattr
        if self._is_unreachable(error, history, decision):
            self._note(attempt)
            self.control.stop(StopKind.UNREACHABLE, error)
        elif isinstance(decision, GiveUp):
            # After time-outs or its deadline a pack is not sent in parts: they would come too late as well.
            if self.splitter is None:
                await self._end(pending, outcome, attempt)
            elif decision.reason not in ("terminal", "attempts"):
                await self._end(pending, outcome, attempt)
                if pending.family is not None:
                    pending.family.spoilt = True
                    await self._leave(pending.family)
            else:
                await self._refused(self.splitter, pending, outcome, attempt)
        elif isinstance(decision, Retry):
            self._note(attempt)
            pending.history = decision.history
            if not self.control.stopping:
                self.counters.retries += 1
                self.backlog.postpone(pending, decision.wait_s)
        else:
            self._note(attempt)
            self.control.stop(StopKind.DOOMED, error)

    # ------------------------------------------------------------------ what the server does not take

    def _adapted(self, pending: Pending) -> Pending:
        """Put what was learnt into a row that comes up; choices beyond the first go to the back of the line."""
        adapting = self.plan.adapting
        if adapting is not None and adapting.lessons:
            pending.request, *others = adapting.requests(pending.request)
            self._add_parts(others)
        return pending

    def _add_parts(self, parts: Sequence[Request]) -> None:
        self.backlog.split(1 + len(parts))
        self.counters.added += len(parts)
        for part in parts:
            self.backlog.postpone(Pending(part, time.time(), time.monotonic()), 0.0)

    async def _learn(
        self, adapting: Adapting, taught: list[Lesson] | UnsupportedError, pending: Pending, attempt: Attempt
    ) -> None:
        """Send a row again with what its refusal taught, at no cost of an attempt; or stop the run."""
        self._note(replace(attempt, error_kind=kind_of(UnsupportedError)))
        if isinstance(taught, UnsupportedError):
            self.control.stop(StopKind.DOOMED, taught)
            return
        await self._keep_lessons(adapting)
        if not self.control.stopping:
            self.counters.retries += 1
            self.backlog.postpone(self._adapted(pending), 0.0)

    async def _learn_from_answer(self, adapting: Adapting, pending: Pending, outcome: Outcome) -> None:
        """Note that the server takes the parameters, and ask for the choices that it left out of its first answers."""
        if not adapting.accepted:
            adapting.accepted = True
            self._scouted.set()
        request = pending.request
        came = adapting.learn_choices(request, outcome.response) if adapting.watches_choices else None
        if came is None:
            return
        missing = adapting.missing(request, came)
        pending.request = replace(request, choices=came, of_choices=request.choices)
        if adapting.stops:
            self.control.stop(StopKind.DOOMED, too_few(came, request))
            return
        self._add_parts(missing)
        await self._keep_lessons(adapting)

    async def _keep_lessons(self, adapting: Adapting) -> None:
        """Say and write down lessons that are new. A manifest that cannot be written stops the run."""
        async with self._learning:
            fresh = adapting.unsaid()
            if not fresh:
                return
            for lesson in fresh:
                self.plan.say(lesson.describe())
                self.plan.on_event("parameter not supported", {"parameter": lesson.param, "action": lesson.action})
            try:
                await anyio.to_thread.run_sync(self.plan.remember)
            except (StorageError, CannotCreateError) as error:
                self.control.stop(StopKind.STORAGE, error)

    # ------------------------------------------------------------------ nobody there

    def _is_unreachable(self, error: RequestError, history: History, decision: Decision) -> bool:
        """Say whether nobody can be connected to: this row never could, and no other had an answer meanwhile."""
        if not isinstance(error, ConnectError) or self.counters.last_answer_at > history.first_sent_at:
            return False
        tried_enough = history.attempts_used + 1 >= _CONNECTS_BEFORE_UNREACHABLE
        return isinstance(decision, GiveUp) or (self.counters.answered == 0 and tried_enough)

    # ------------------------------------------------------------------ requests of several samples

    def _fitted(self, pending: Pending) -> Pending:
        """Return a row as it is sent by what is known of the server; what does not fit goes apart."""
        if self.splitter is None:
            return pending
        pending.request, *others = self.splitter.fit(pending.request)
        if others:
            if pending.family is not None:
                pending.family.active += len(others)
            self.backlog.spread([pending.part(request) for request in others], taken=1)
        return pending

    def _note_pack(self, splitter: Splitter, pending: Pending, size_bytes: int) -> None:
        """Learn from an answer; where it shows that something is answered, what was held goes on in halves."""
        unknown = splitter.encoding is Encoding.UNKNOWN
        splitter.note_answer(pending.request, size_bytes, tried_without=pending.whole is not None)
        if unknown and splitter.encoding is Encoding.REFUSED:
            self.plan.on_event("encoding refused", {"message": "the answers are asked for as lists of numbers"})
        family = pending.family
        if family is None:
            return
        family.note_answer(pending.request)
        held, family.held = family.held, []
        self._holding.discard(family)
        for one, _, attempt in held:
            family.active += 1
            self._take_apart(one, halves(one.whole or one.request), attempt)

    async def _refused(self, splitter: Splitter, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Act on a failure that a retry would not mend: of several samples perhaps only one is to blame."""
        error = outcome.error
        if error is None:
            raise ValueError("nothing was refused")
        family = pending.family = pending.family or Family()
        verdict = splitter.after_refusal(pending.request, pending.whole, family, error)
        if verdict.move is Move.SPLIT:
            self._take_apart(pending, verdict.requests, attempt)
            return
        if verdict.move is Move.AGAIN:
            self._note(attempt)
            pending.whole, (pending.request,) = pending.request, verdict.requests
            if not self.control.stopping:
                self.backlog.postpone(pending, 0.0)
            return
        if verdict.move is Move.HOLD:
            family.held.append((pending, outcome, attempt))
            self._holding.add(family)
        else:
            await self._end(pending, outcome, attempt)
        await self._leave(family)

    def _take_apart(self, pending: Pending, requests: Sequence[Request], attempt: Attempt) -> None:
        self._note(attempt)
        if not self.control.stopping and pending.family is not None:
            pending.family.active += len(requests) - 1
            parts = [self._part(pending, request) for request in requests]
            parts[0].counted_bytes = pending.counted_bytes
            self.backlog.spread(parts)

    def _part(self, pending: Pending, request: Request) -> Pending:
        """Return a part of a pack that was refused; where that used up its attempts, few are left for the part."""
        part, history, most = pending.part(request), pending.history, self.plan.retry.max_attempts
        if history is not None and history.attempts_used + 1 >= most:
            left = 1 if len(request.cases) > 1 else 2
            part.history = History(first_sent_at=pending.first_sent_at, attempts_used=max(0, most - left))
        return part

    async def _leave(self, family: Family) -> None:
        """Count a member of a family as ended. After the last of them those that are held are tried, or have failed."""
        family.active -= 1
        if family.active or self.splitter is None:
            return
        if not family.held:
            self.splitter.learn(family)
            return
        pending, _, attempt = family.held[0]
        if requests := self.splitter.scout(pending.whole or pending.request, family):
            del family.held[0]
            family.active += 1
            self._take_apart(pending, requests, attempt)
            return
        held, family.held = family.held, []
        self._holding.discard(family)
        for pending, outcome, attempt in held:
            await self._end(pending, outcome, attempt)

    # ------------------------------------------------------------------ rows out

    async def _end(self, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Store how a row ended and count it once that is durable."""
        error = outcome.error
        if self.plan.likelihood is not None:
            self.plan.likelihood.forget(pending.request.key)
        record = Record(
            pending.request,
            outcome.response,
            failure_of(error) if error else None,
            pending.attempts,
            pending.created_at,
            finished_at=time.time(),
            queued_s=pending.queued_s,
            last_attempt=attempt,
        )
        kind = FrameType.FAILURE if error else FrameType.ANSWER
        parts = encode_record(record, self.plan.number, self.plan.server)
        try:
            await self.journal.store(pending.request.key, kind, *parts)
        except StorageError as trouble:
            self.control.stop(StopKind.STORAGE, trouble)
            return
        self.counters.ended += len(pending.request.cases)
        self.counters.failed += len(pending.request.cases) if error else 0
        self.backlog.end(pending.counted_bytes)
        if self.backlog.finished:
            self._scouted.set()

    def _note(self, attempt: Attempt) -> None:
        try:
            payload = encode_attempt(attempt, self.plan.number, self.plan.server)
            self.journal.note_attempt(attempt.request_key, payload)
        except StorageError as error:
            self.control.stop(StopKind.STORAGE, error)

    async def _seal(self) -> None:
        """Seal segment after segment in a thread; what cannot be sealed stays in the journal, and the run stops."""
        async with self._sealable:
            async for segment in self._sealable:
                if self.control.kind in {StopKind.STORAGE, StopKind.INTERNAL}:
                    continue
                try:
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(seal_segment, self.plan.sealing, self.plan.log, segment)
                except (StorageError, CannotCreateError) as error:
                    self.control.stop(StopKind.STORAGE, error)
                except Exception as bug:  # noqa: BLE001 - the segment stays in the journal, for a mended version to seal
                    known = bug if isinstance(bug, RunnerError) else internal_error("sealing answers", bug)
                    self.control.stop(StopKind.INTERNAL, known)

    # ------------------------------------------------------------------ beside the rows

    def snapshot(self) -> Snapshot:
        """Return the counters as of now."""
        counters, plan = self.counters, self.plan
        return Snapshot(
            done=plan.already_done + counters.ended,
            total=plan.already_done + max(plan.cases + counters.added, counters.ended),
            already_done=plan.already_done,
            answered=counters.answered,
            failed=counters.failed,
            in_flight=counters.in_flight,
            waiting=self.backlog.waiting,
            retries=counters.retries,
            rate_limited=counters.rate_limited,
            tokens=counters.tokens,
            cost_usd=None if plan.price is None or counters.unpriced else counters.cost_usd,
            elapsed_s=time.monotonic() - counters.begun,
            frozen_for_s=plan.limiter.statistics().frozen_for_s,
        )

    async def _show(self) -> None:
        while True:
            self.plan.display.show(self.snapshot())
            await anyio.sleep(self.plan.display.every_s)

    async def _watch_signals(self) -> None:
        async with anyio.create_task_group() as group:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
                async for number in received:
                    if self.control.stopping:
                        self.plan.say(f"stopping at once; {self.counters.in_flight} requests under way are let go")
                        self.control.let_go()
                        continue
                    count = self.counters.in_flight
                    self.plan.say(
                        f"stopping: {count} answers under way may come in for {_GRACE_S:g} s; again stops at once"
                    )
                    self.control.stop(StopKind.INTERRUPTED if number == signal.SIGINT else StopKind.TERMINATED)
                    group.start_soon(self._let_go_later)

    async def _let_go_when_cancelled(self) -> None:
        """Pass a cancellation from outside on to the requests under way, which are shielded from it."""
        try:
            await anyio.sleep_forever()
        finally:
            self.control.let_go()

    async def _let_go_later(self) -> None:
        await anyio.sleep(_GRACE_S)
        self.control.let_go()

    @contextlib.contextmanager
    def _soft(self) -> Iterator[None]:
        """Hold what may be cancelled as soon as the run stops: waiting for rows, for admission, for a file."""
        with anyio.CancelScope() as scope:
            self.control.soft.add(scope)
            if self.control.stopping:
                scope.cancel()
            try:
                yield
            finally:
                self.control.soft.discard(scope)
