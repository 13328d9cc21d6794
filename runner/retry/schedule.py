"""Owns the decision after a failed attempt: send the row again and when, give it up, or stop the run.

Full jitter (a wait drawn evenly between 0 and a ceiling that doubles) over a floor, the server's own `Retry-After`.
The clock and the random number are arguments; nothing here waits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from runner.errors import Action, OverloadError, RateLimitError, RequestTimeoutError

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.retry.policy import RetryPolicy

# Rows that were given the same Retry-After come back spread over this share of it, so that they do not meet again.
_FLOOR_SPREAD = 0.1
# Doubling further would overflow a float; the ceiling was reached long before.
_MAX_DOUBLINGS = 60


@dataclass(frozen=True, slots=True)
class History:
    """What a row has been through before the failure to be decided on.

    `attempts_used` counts earlier failures of the request itself, `timeouts` those of them that were time-outs of ours,
    `free_retries` earlier refusals that use no attempt. `first_sent_at` is monotonic, `paused_s` the time since then
    that was spent waiting in the limiter or in a pause, which the deadline does not count.
    """

    first_sent_at: float
    attempts_used: int = 0
    timeouts: int = 0
    free_retries: int = 0
    paused_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Send the row again after `wait_s`, back through the limiter; `history` is the row's from now on.

    `freeze_s`, where not null, is how long the server refuses everyone: the limiter is to be frozen for it.
    """

    wait_s: float
    history: History
    freeze_s: float | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Record the failure: the row has ended. `freeze_s` as in `Retry`, since other rows meet the same refusal."""

    reason: Literal["terminal", "attempts", "timeouts", "deadline"]
    freeze_s: float | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the run: every row would meet this failure. The row stays unsent and the run resumable."""


Decision = Retry | GiveUp | Stop


def decide(error: RequestError, history: History, policy: RetryPolicy, *, now: float, random: float) -> Decision:
    """Return what to do after `error`; `now` is monotonic, `random` lies in [0, 1).

    A retry never starts after the row's deadline. A `Retry-After` is obeyed however long it is; one that ends after
    the deadline gives the row up.
    """
    if error.action is Action.STOP_RUN:
        return Stop()
    if error.action is Action.END_ROW:
        return GiveUp("terminal")
    freeze_s = error.retry_after_s if isinstance(error, (RateLimitError, OverloadError)) else None
    after = _count(history, error)
    if after.timeouts > policy.max_timeouts and _may_be_billed(error):
        return GiveUp("timeouts")
    if error.action is Action.RETRY and after.attempts_used >= policy.max_attempts:
        return GiveUp("attempts")
    left_s = policy.deadline_s - (now - history.first_sent_at - history.paused_s)
    floor_s = error.retry_after_s or 0.0
    if left_s <= 0.0 or floor_s > left_s:
        return GiveUp("deadline", freeze_s)
    return Retry(min(_wait_s(error, history, policy, random), left_s), after, freeze_s)


def _count(history: History, error: RequestError) -> History:
    if error.action is Action.RETRY_FREE:
        return replace(history, free_retries=history.free_retries + 1)
    timeouts = history.timeouts + _may_be_billed(error)
    return replace(history, attempts_used=history.attempts_used + 1, timeouts=timeouts)


def _may_be_billed(error: RequestError) -> bool:
    """Say whether the server may have worked to the end for nobody; with a 408 it says itself that it gave up."""
    return isinstance(error, RequestTimeoutError) and error.http_status is None


def _wait_s(error: RequestError, history: History, policy: RetryPolicy, random: float) -> float:
    doublings = history.free_retries if error.action is Action.RETRY_FREE else history.attempts_used
    ceiling_s = min(policy.max_wait_s, policy.first_wait_s * 2.0 ** min(doublings, _MAX_DOUBLINGS))
    if error.retry_after_s is None:
        return random * ceiling_s
    floor_s = error.retry_after_s
    spread_s = max(_FLOOR_SPREAD * floor_s, min(policy.first_wait_s, ceiling_s))
    return max(random * ceiling_s, floor_s + random * spread_s)
