"""Owns a row's turn: it is sent once, and what came of it is acted on. What is to be done, `course` decides."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from runner.crash_points import crash_point
from runner.errors import CancelledError
from runner.pipeline.attempt import Outcome, Sent, attempt_of, send
from runner.pipeline.control import StopKind
from runner.pipeline.course import Divide, Fail, Halt, Seen, course_after, named, verdict_on
from runner.pipeline.likelihood import Visit
from runner.pipeline.outage import Row, gone_error, note_failure
from runner.retry import Retry

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.limiter import Turn
    from runner.pipeline.backlog import Pending
    from runner.pipeline.families import Families
    from runner.pipeline.learning import Learning
    from runner.pipeline.likelihood import LikelihoodSender
    from runner.pipeline.recording import Recorder
    from runner.pipeline.sessionplan import SessionPlan
    from runner.pipeline.state import SessionState
    from runner.records import Attempt, Request


_NO_HEADERS: dict[str, str] = {}


def expected(request: Request) -> tuple[int, int | None]:
    """Return the tokens that a request is expected to take, of prompt and answer; null for an answer of any length."""
    answer = request.answer_tokens
    return request.reserve_tokens - answer, None if request.unbounded else answer


@dataclass(slots=True)
class Dispatch:
    """What all workers of a session do with a row. `learning` and `families` are null where there is nothing for them.

    Nothing here waits but for the server and the journal: a row that is sent again waits in the backlog.
    """

    plan: SessionPlan
    state: SessionState
    recorder: Recorder
    learning: Learning | None
    families: Families | None

    def make_ready(self, pending: Pending) -> Pending:
        """Put into a row that comes up what is known of the server by now; parts and choices beyond go apart."""
        if self.families is not None:
            self.families.fit(pending)
        if self.learning is not None:
            self.learning.adapt(pending)
        return pending

    async def attempt(self, pending: Pending) -> None:
        """Send an admitted row once and act on what came of it."""
        server, counters, request = self.plan.server, self.state.counters, pending.request
        turn, pending.turn = pending.turn, None
        if turn is None:
            raise ValueError("a row is sent that was not admitted")
        begun = time.monotonic()
        pending.queued_s += begun - pending.ready_at
        pending.attempts += 1
        if not pending.first_sent_at:
            pending.first_sent_at, pending.queued_before_s = begun, pending.queued_s
        sent = Sent(pending.attempts, time.time(), turn.replica.name)
        self.recorder.journal.note_start(request.key, pending.attempts)
        counters.in_flight += 1
        counters.attempts += 1
        try:
            if server.likelihood is None:
                transport = server.transports[turn.replica.number]
                outcome = await send(transport, server.endpoint, request, answered_before=counters.answered > 0)
            else:
                outcome = await self._send_in_form(server.likelihood, pending, turn)
        except anyio.get_cancelled_exc_class():
            cut = Outcome(None, CancelledError("the run was interrupted while the request was under way"))
            self.recorder.note(attempt_of(request, sent, cut, time.monotonic() - begun))
            self._tell_limiter(turn, cut)
            raise
        finally:
            counters.in_flight -= 1
        crash_point("session:after-answer")
        if (error := named(outcome.error, pending.history)) is not outcome.error:
            outcome = Outcome(None, error)
        if error is not None:
            self._note_failure(pending, turn, error)
        self._tell_limiter(turn, outcome)
        attempt = attempt_of(request, sent, outcome, time.monotonic() - begun)
        if error is None:
            await self._accept(pending, outcome, attempt)
        elif self.learning is not None and (taught := self.learning.adapting.learn(request, outcome.response)):
            await self.learning.send_again(taught, pending, attempt)
        else:
            await self._act_on(error, pending, outcome, attempt)

    def _tell_limiter(self, turn: Turn, outcome: Outcome) -> None:
        headers = outcome.response.headers if outcome.response is not None else _NO_HEADERS
        was_out = turn.replica.out
        self.plan.server.limiter.done(turn, verdict_on(outcome.error), outcome.usage, headers)
        if was_out and not turn.replica.out:
            self.plan.audience.on_event("server back", {"server": turn.replica.name})

    def _note_failure(self, pending: Pending, turn: Turn, error: RequestError) -> None:
        """Tell the pool what a failure says of its server, and the row how the servers stand."""
        server, was_out = turn.replica, turn.replica.out
        row = Row(pending.family or pending.request.key, pending.failed_at)
        pending.standing = note_failure(self.plan.server.limiter, turn, error, row)
        pending.last = server
        if not pending.failed_at and not pending.standing.excused:
            pending.failed_at = time.monotonic()
        if server.out is not was_out:
            name = "server out" if server.out else "server back"
            self.plan.audience.on_event(name, {"server": server.name, "error": error.message})

    async def _send_in_form(self, likelihood: LikelihoodSender, pending: Pending, turn: Turn) -> Outcome:
        visit, answered = Visit(turn, pending.attempts), self.state.counters.answered > 0
        try:
            return await likelihood.send(pending.request, visit, answered_before=answered)
        finally:
            for attempt in visit.earlier:
                self.recorder.note(attempt)

    async def _accept(self, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Learn from an answer what it teaches of the server, and store it."""
        request, learning, omissions = pending.request, self.learning, self.plan.knowledge.omissions
        self.state.counters.note_answer(outcome.usage)
        if omissions is not None and (omission := omissions.look(request, outcome.response)):
            self.state.control.stop(StopKind.DOOMED, omission)
        if learning is not None and learning.adapting.watches(request):
            await learning.note_answer(pending, outcome.response)
        if self.families is not None:
            self.families.note_answer(pending, len(outcome.response.body) if outcome.response else 0)
        await self.recorder.end(pending, outcome, attempt)
        if self.families is not None and pending.family is not None:
            await self.families.leave(pending.family)

    async def _act_on(self, error: RequestError, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Act on a failed attempt: record the failure, stop the run, or let the row wait for its next attempt."""
        plan, state, now = self.plan, self.state, time.monotonic()
        counters = state.counters
        seen = Seen(now, counters.answered, counters.last_answer_at, self.families is not None, pending.standing)
        jitter = random.random()  # noqa: S311 - no secret hangs on a wait
        course = course_after(error, pending.so_far(), plan.server.retry, seen, random=jitter)
        counters.note_failure(attempt.http_status)
        plan.audience.on_event(
            "attempt failed",
            {"row": pending.request.cases[0].sample_id, "attempt": attempt.number, "error": error.message},
        )
        if isinstance(course, (Retry, Fail)) and course.freeze_s and pending.last is not None:
            pending.last.limiter.freeze(now + course.freeze_s)
        if isinstance(course, (Fail, Divide)):
            await self._give_up(course, pending, outcome, attempt)
            return
        self.recorder.note(attempt)
        if isinstance(course, Halt):
            if pending.standing.gone:
                error = gone_error(error, attempt.server, plan.server.limiter.out_for_s())
            state.control.stop(course.kind, error)
            return
        pending.history = course.history
        if not state.control.stopping:
            counters.retries += 1
            state.backlog.postpone(pending, course.wait_s)

    async def _give_up(self, course: Fail | Divide, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        if self.plan.server.likelihood is not None:
            self.plan.server.likelihood.forget(pending.request.key)
        if self.families is None:
            await self.recorder.end(pending, outcome, attempt)
        elif isinstance(course, Divide):
            await self.families.divide(pending, outcome, attempt)
        else:
            await self.families.fail(pending, outcome, attempt)
