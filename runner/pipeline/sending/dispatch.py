"""Owns a row's turn: it is sent once, and what came of it is acted on. What is to be done, `course` decides."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from runner.awake import awake_s
from runner.crash_points import crash_point
from runner.errors import CancelledError
from runner.limiter import Verdict
from runner.pipeline.sending.attempt import Outcome, Sent, attempt_of, send
from runner.pipeline.sending.budget import NOTHING
from runner.pipeline.sending.control import StopKind
from runner.pipeline.sending.course import Divide, Fail, Halt, Seen, course_after, named, verdict_on
from runner.pipeline.sending.likelihood import Visit
from runner.pipeline.sending.outage import Row, gone_error, note_failure
from runner.retry import PoisonWatch, Retry, as_poison, cost_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from runner.errors import RequestError
    from runner.limiter import Turn
    from runner.pipeline.sending.backlog import Pending
    from runner.pipeline.sending.families import Families
    from runner.pipeline.sending.learning import Learning
    from runner.pipeline.sending.likelihood import LikelihoodSender
    from runner.pipeline.sending.recording import Recorder
    from runner.pipeline.sending.sessionplan import SessionPlan
    from runner.pipeline.sending.spending import Spending
    from runner.pipeline.sending.state import SessionState
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
    poison: PoisonWatch = field(default_factory=PoisonWatch)

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
        counters, request = self.state.counters, pending.request
        turn, pending.turn = pending.turn, None
        if turn is None:
            raise ValueError("a row is sent that was not admitted")
        pending.attempts += 1
        if not self.spending.budget.capped:
            self.recorder.note_start(pending)
        elif not await self._keep_start(pending, turn):  # a kill must not make the budget forget the request
            return
        begun = awake_s()
        pending.queued_s += begun - pending.ready_at
        if not pending.first_sent_at:
            pending.first_sent_at, pending.queued_before_s = begun, pending.queued_s
        sent = Sent(pending.attempts, time.time(), turn.replica.name)
        counters.in_flight += 1
        counters.attempts += 1
        self.state.under_way.begin(pending, begun, sent.server)
        try:
            outcome = await self._send(pending, turn)
        except anyio.get_cancelled_exc_class():
            cut = Outcome(None, CancelledError("the run was interrupted while the request was under way"))
            attempt = attempt_of(request, sent, cut, awake_s() - begun)
            self.recorder.note(self._charged(attempt, pending, cut))
            self._tell_limiter(turn, cut)
            raise
        finally:
            counters.in_flight -= 1
            self.state.under_way.end(pending)
        crash_point("session:after-answer")
        error = outcome.error
        if error is not None:
            error = named(error, pending.history)
            outcome = replace(outcome, error=error)
            self._note_failure(pending, turn, error)
        self._tell_limiter(turn, outcome)
        attempt = self._charged(attempt_of(request, sent, outcome, awake_s() - begun), pending, outcome)
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

    async def _keep_start(self, pending: Pending, turn: Turn) -> bool:
        """Make durable that a row goes out; false where it does not, since the disk refused or the run stops by now."""
        if await self.recorder.keep_start(pending) and not self.state.control.stopping:
            return True
        self.spending.release(pending)
        self.plan.server.limiter.done(turn, Verdict.FAILED)
        return False

    def _charged(self, attempt: Attempt, pending: Pending, outcome: Outcome) -> Attempt:
        """Settle with the budget what an attempt took, and put down what no answer's usage will say of it."""
        beside = self.spending.settle(pending, outcome)
        return replace(attempt, charged_tokens=beside.tokens, charged_usd=beside.usd) if beside != NOTHING else attempt

    def _note_failure(self, pending: Pending, turn: Turn, error: RequestError) -> None:
        """Tell the pool what a failure says of its server, and the row how the servers stand."""
        server, was_out = turn.replica, turn.replica.out
        row = Row(pending.family or pending.request.key, pending.failed_at)
        pending.standing = note_failure(self.plan.server.limiter, turn, error, row)
        pending.last = server
        if not pending.failed_at and not pending.standing.excused:
            pending.failed_at = awake_s()
        if server.out is not was_out:
            name = "server out" if server.out else "server back"
            self.plan.audience.on_event(name, {"server": server.name, "error": error.message})

    def _send(self, pending: Pending, turn: Turn) -> Awaitable[Outcome]:
        """Send a row in the form that its server knows, and judge what came back."""
        server, answered = self.plan.server, self.state.counters.answered > 0
        if server.likelihood is not None:
            return self._send_parts(server.likelihood, pending, turn, answered_before=answered)
        return send(server.transports[turn.replica.number], server.endpoint, pending.request, answered_before=answered)

    async def _send_parts(
        self, likelihood: LikelihoodSender, pending: Pending, turn: Turn, *, answered_before: bool
    ) -> Outcome:
        """Send what is measured with several requests; those before the last are noted as attempts of their own."""
        visit = Visit(turn, pending.attempts)
        try:
            return await likelihood.send(pending.request, visit, answered_before=answered_before)
        finally:
            pending.queued_s += visit.waited_s
            for attempt in visit.earlier:
                self.recorder.note(attempt)

    async def _accept(self, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Learn from an answer what it teaches of the server, and store it."""
        request, learning, omissions = pending.request, self.learning, self.plan.knowledge.omissions
        self.state.counters.note_answer(outcome.usage)
        self.state.backlog.note_answer()
        self.poison.note_mended(pending.streak)
        if omissions is not None and (omission := omissions.look(request, outcome.response)):
            self.state.control.stop(StopKind.DOOMED, omission)
        if learning is not None and learning.adapting.watches(request):
            await learning.note_answer(pending, outcome.response)
        if self.families is not None:
            self.families.note_answer(pending, len(outcome.response.body) if outcome.response else 0)
        enlarging = self.plan.knowledge.enlarging
        if enlarging is not None and not self.state.control.stopping:
            larger = enlarging.larger(pending.request, outcome.response)
            if larger is not None:
                await self._ask_for_more(larger, pending, outcome, attempt)
                return
        await self.recorder.end(pending, outcome, attempt)
        if self.families is not None and pending.family is not None:
            await self.families.leave(pending.family)

    async def _ask_for_more(self, larger: Request, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Store an answer that was cut off, which is paid for, and let its row ask for a longer one."""
        await self.recorder.keep(pending, outcome, attempt)
        pending.request = larger
        if not self.state.control.stopping:
            self.state.counters.retries += 1
            self.state.backlog.postpone(pending, 0.0)

    async def _act_on(self, error: RequestError, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        """Act on a failed attempt: record the failure, stop the run, or let the row wait for its next attempt."""
        plan, state, now = self.plan, self.state, awake_s()
        counters = state.counters
        cost = self._cost_of_retry(error, pending)
        jitter = random.random()  # noqa: S311 - no secret hangs on a wait
        course = course_after(error, pending.so_far(), plan.server.retry, self._seen(now, pending), random=jitter)
        counters.note_failure(attempt.http_status)
        plan.audience.on_event(
            "attempt failed",
            {"row": pending.request.cases[0].sample_id, "attempt": attempt.number, "error": error.message},
        )
        if isinstance(course, (Retry, Fail)) and course.freeze_s and pending.last is not None:
            pending.last.limiter.freeze(now + course.freeze_s)
        if isinstance(course, (Fail, Divide)):
            if isinstance(course, Fail) and course.poison and pending.streak is not None:
                outcome = Outcome(outcome.response, as_poison(error, pending.streak))
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
            state.backlog.postpone(pending, course.wait_s, cost=cost)

    def _cost_of_retry(self, error: RequestError, pending: Pending) -> float:
        """Count a failure; return what a retry takes out of the budget.

        What a server failed at that is out costs nothing: its breaker holds the row back from it. Nor does it say
        anything of the row, whose streak stays as it was.
        """
        cost = cost_of(error)
        if cost:
            self.state.backlog.budget.note_failure()
        if pending.standing.excused:
            return 0.0
        pending.streak = self.poison.lengthen(pending.streak, error, self.state.counters.answered)
        return cost

    def _seen(self, now: float, pending: Pending) -> Seen:
        counters, standing = self.state.counters, pending.standing
        return Seen(
            now,
            counters.answered,
            counters.last_answer_at,
            packs=self.families is not None,
            servers=standing,
            poison=standing.suspect and self.poison.is_poison(pending.streak, counters.answered),
            failures_in_a_row=self.state.backlog.budget.failures_in_a_row,
        )

    async def _give_up(self, course: Fail | Divide, pending: Pending, outcome: Outcome, attempt: Attempt) -> None:
        if self.plan.server.likelihood is not None:
            self.plan.server.likelihood.forget(pending.request.key)
        if self.families is None:
            await self.recorder.end(pending, outcome, attempt)
        elif isinstance(course, Divide):
            await self.families.divide(pending, outcome, attempt)
        else:
            await self.families.fail(pending, outcome, attempt)
