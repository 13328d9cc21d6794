"""Owns a row's turn: it is sent once, and what came of it is acted on. What is to be done, `course` decides."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio

from runner.crash_points import crash_point
from runner.errors import CancelledError
from runner.pipeline.attempt import Outcome, attempt_of, send
from runner.pipeline.budget import NOTHING
from runner.pipeline.control import StopKind
from runner.pipeline.course import Divide, Fail, Halt, Seen, course_after, named, verdict_on
from runner.retry import Retry

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.pipeline.backlog import Pending
    from runner.pipeline.families import Families
    from runner.pipeline.learning import Learning
    from runner.pipeline.likelihood import LikelihoodSender
    from runner.pipeline.recording import Recorder
    from runner.pipeline.sessionplan import SessionPlan
    from runner.pipeline.spending import Spending
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
    spending: Spending

    def make_ready(self, pending: Pending) -> Pending:
        """Put into a row that comes up what is known of the server by now; parts and choices beyond go apart."""
        if self.families is not None:
            self.families.fit(pending)
        if self.learning is not None:
            self.learning.adapt(pending)
        return pending

    async def afford(self, pending: Pending) -> None:
        """Wait until the budget has room for a row; a pack that is too large goes in parts, and else the run stops."""
        control = self.state.control
        while control.stopping or not await self.spending.reserve(pending):
            if control.stopping:  # a row may have been handed over in that instant
                await anyio.sleep_forever()
            if self.families is not None and len(pending.request.cases) > 1:
                self.families.halve(pending)
                continue
            control.stop(StopKind.OVER_BUDGET, self.spending.used_up(pending.request))

    async def attempt(self, pending: Pending) -> None:
        """Send an admitted row once and act on what came of it."""
        server, counters, request = self.plan.server, self.state.counters, pending.request
        sent_at, begun = time.time(), time.monotonic()
        pending.queued_s += begun - pending.ready_at
        pending.attempts += 1
        if not pending.first_sent_at:
            pending.first_sent_at, pending.queued_before_s = begun, pending.queued_s
        if not self.spending.budget.capped:
            self.recorder.note_start(pending)
        elif not await self.recorder.keep_start(pending):  # a kill must not make the budget forget the request
            self.spending.release(pending)
            return
        counters.in_flight += 1
        counters.attempts += 1
        try:
            if server.likelihood is None:
                outcome = await send(server.transport, server.endpoint, request, answered_before=counters.answered > 0)
            else:
                outcome = await self._send_in_form(server.likelihood, pending)
        except anyio.get_cancelled_exc_class():
            cut = Outcome(None, CancelledError("the run was interrupted while the request was under way"))
            attempt = attempt_of(request, pending.attempts, cut, sent_at, time.monotonic() - begun)
            self.recorder.note(self._charged(attempt, pending, cut))
            self._tell_limiter(pending, Outcome(None, cut.error))
            raise
        finally:
            counters.in_flight -= 1
        crash_point("session:after-answer")
        if (error := named(outcome.error, pending.history)) is not outcome.error:
            outcome = Outcome(None, error)
        self._tell_limiter(pending, outcome)
        attempt = attempt_of(request, pending.attempts, outcome, sent_at, time.monotonic() - begun)
        attempt = self._charged(attempt, pending, outcome)
        if error is None:
            await self._accept(pending, outcome, attempt)
        elif self.learning is not None and (taught := self.learning.adapting.learn(request, outcome.response)):
            await self.learning.send_again(taught, pending, attempt)
        else:
            await self._act_on(error, pending, outcome, attempt)

    def _tell_limiter(self, pending: Pending, outcome: Outcome) -> None:
        ticket, pending.ticket = pending.ticket, None
        if ticket is not None:
            headers = outcome.response.headers if outcome.response is not None else _NO_HEADERS
            self.plan.server.limiter.done(ticket, verdict_on(outcome.error), outcome.usage, headers)

    def _charged(self, attempt: Attempt, pending: Pending, outcome: Outcome) -> Attempt:
        """Settle with the budget what an attempt took, and put down what no answer's usage will say of it."""
        beside = self.spending.settle(pending, outcome)
        return replace(attempt, charged_tokens=beside.tokens, charged_usd=beside.usd) if beside != NOTHING else attempt

    async def _send_in_form(self, likelihood: LikelihoodSender, pending: Pending) -> Outcome:
        earlier: list[Attempt] = []
        answered = self.state.counters.answered > 0
        try:
            return await likelihood.send(pending.request, pending.attempts, earlier, answered_before=answered)
        finally:
            for attempt in earlier:
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
        seen = Seen(now, counters.answered, counters.last_answer_at, packs=self.families is not None)
        jitter = random.random()  # noqa: S311 - no secret hangs on a wait
        course = course_after(error, pending.so_far(), plan.server.retry, seen, random=jitter)
        counters.note_failure(attempt.http_status)
        plan.audience.on_event(
            "attempt failed",
            {"row": pending.request.cases[0].sample_id, "attempt": attempt.number, "error": error.message},
        )
        if isinstance(course, (Retry, Fail)) and course.freeze_s:
            plan.server.limiter.freeze(now + course.freeze_s)
        if isinstance(course, (Fail, Divide)):
            await self._give_up(course, pending, outcome, attempt)
            return
        self.recorder.note(attempt)
        if isinstance(course, Halt):
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
