"""Owns the course of a row after a failed attempt: again, in parts, ended as it is, or the run stops. Pure.

`retry.decide` says what the policy asks of this row alone. What else the session has seen is weighed here: whether
anybody answers at all, and whether a request is of several samples, of which perhaps only one is to blame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runner.errors import (
    ConnectError,
    DisconnectError,
    OverloadError,
    RateLimitError,
    RequestTimeoutError,
    StaleConnectionError,
)
from runner.limiter import Verdict
from runner.pipeline.sending.control import StopKind
from runner.pipeline.sending.outage import Standing
from runner.retry import GiveUp, Retry, Stop, decide

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.retry import Decision, History, RetryPolicy

_STANDING = Standing()
# A row whose server cannot even be connected to, this many times and before any answer, means that it is not there.
_CONNECTS_BEFORE_UNREACHABLE = 4
# So many failures in a row, no answer between them, are no chance: the server is full for everyone.
_FULL_FOR_EVERYONE = 10


@dataclass(frozen=True, slots=True)
class Seen:
    """What a session has seen up to `now`; times are monotonic. `packs`: requests may hold several samples.

    `servers` is how they stand after this failure, `poison` says that this row failed too often in the same way while
    others were answered, `failures_in_a_row` how many attempts of any row failed since the last answer, this one
    included.
    """

    now: float
    answered: int
    last_answer_at: float
    packs: bool
    servers: Standing = _STANDING
    poison: bool = False
    failures_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Fail:
    """The row has failed. `freeze_s` as in `Retry`, since other rows meet the same refusal.

    `poison` says that it would fail again whenever it is sent.
    """

    freeze_s: float | None = None
    poison: bool = False


@dataclass(frozen=True, slots=True)
class Divide:
    """No retry will mend the request as it is; its parts may do."""


@dataclass(frozen=True, slots=True)
class Halt:
    """The run stops. The row stays unsent, and the run can be resumed."""

    kind: StopKind


Course = Retry | Fail | Divide | Halt


def course_after(error: RequestError, history: History, policy: RetryPolicy, seen: Seen, *, random: float) -> Course:
    """Return what becomes of a row whose attempt failed with `error`; `random` lies in [0, 1)."""
    if seen.servers.excused and (course := _course_of_excused(error, history, policy, seen, random=random)):
        return course
    decision = _decide(error, history, policy, seen, random=random)
    if isinstance(decision, (Retry, GiveUp)) and decision.freeze_s and not _holds_everyone(error, policy, seen):
        decision = replace(decision, freeze_s=None)
    if _is_unreachable(error, history, decision, seen):
        return Halt(StopKind.UNREACHABLE)
    if isinstance(decision, Stop):
        return Halt(StopKind.DOOMED)
    if isinstance(decision, Retry):
        # Of a pack perhaps one input alone is poison: its attempts are used up, and then its parts tell.
        return Fail(poison=True) if seen.poison and not seen.packs else decision
    # After time-outs or its deadline a pack is not sent in parts: they would come too late as well.
    if seen.packs and decision.reason in ("terminal", "attempts"):
        return Divide()
    return Fail(decision.freeze_s)


def verdict_on(error: RequestError | None) -> Verdict:
    """Return what an attempt's end says of the server's limits."""
    if error is None:
        return Verdict.ANSWERED
    if isinstance(error, RateLimitError):
        return Verdict.REFUSED
    if isinstance(error, (OverloadError, RequestTimeoutError, ConnectError, DisconnectError)):
        return Verdict.OVERLOADED
    return Verdict.FAILED


def named(error: RequestError, history: History | None) -> RequestError:
    """Return an attempt's error by its right name.

    A connection that breaks once is chance; a request whose connections keep breaking is what breaks them.
    """
    if isinstance(error, StaleConnectionError) and history is not None and history.free_retries:
        return DisconnectError(error.message)
    return error


def _holds_everyone(error: RequestError, policy: RetryPolicy, seen: Seen) -> bool:
    """Say whether the wait that a server asks for is everyone's.

    A limit refuses all alike. A server that is full may refuse one request in a hundred, of all its replicas the one
    that is: its short wait is the row's alone as long as others are answered.
    """
    if not isinstance(error, OverloadError):
        return True
    return (error.retry_after_s or 0.0) > policy.max_wait_s or seen.failures_in_a_row >= _FULL_FOR_EVERYONE


def _course_of_excused(
    error: RequestError, history: History, policy: RetryPolicy, seen: Seen, *, random: float
) -> Course | None:
    """Return the course of a row whose server is out; null where a time-out too many may have been billed.

    It uses no attempt, and neither backs off nor looks at its deadline where the breaker decides when it is sent.
    """
    if seen.servers.gone:
        return Halt(StopKind.UNREACHABLE)
    timeouts = history.timeouts + isinstance(error, RequestTimeoutError)
    if timeouts > max(policy.max_timeouts, history.timeouts):
        return None
    after = replace(history, free_retries=history.free_retries + 1, timeouts=timeouts)
    asked_s = error.retry_after_s if isinstance(error, OverloadError) else None
    return Retry(random * policy.first_wait_s, after, asked_s)


def _decide(error: RequestError, history: History, policy: RetryPolicy, seen: Seen, *, random: float) -> Decision:
    """Return what the policy asks; a wait that one server asks for holds nobody up whom another may serve."""
    asked_s = error.retry_after_s
    if not asked_s or not seen.servers.elsewhere:
        return decide(error, history, policy, now=seen.now, random=random)
    unhurried = type(error)(error.message, http_status=error.http_status)
    decision = decide(unhurried, history, policy, now=seen.now, random=random)
    if isinstance(decision, Stop) or not isinstance(error, (RateLimitError, OverloadError)):
        return decision
    return replace(decision, freeze_s=asked_s)


def _is_unreachable(error: RequestError, history: History, decision: Decision, seen: Seen) -> bool:
    """Say whether nobody can be connected to: this row never could, and no other had an answer meanwhile."""
    if not isinstance(error, ConnectError) or seen.servers.elsewhere or seen.last_answer_at > history.first_sent_at:
        return False
    tried_enough = history.attempts_used + 1 >= _CONNECTS_BEFORE_UNREACHABLE
    return isinstance(decision, GiveUp) or (seen.answered == 0 and tried_enough)
