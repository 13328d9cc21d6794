from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import errors
from runner.errors import Action
from runner.retry import GiveUp, History, Retry, RetryPolicy, Stop, decide

if TYPE_CHECKING:
    from runner.errors import RequestError

POLICY = RetryPolicy(max_attempts=8, max_timeouts=1, first_wait_s=0.5, max_wait_s=60.0, deadline_s=3600.0)
FRESH = History(first_sent_at=100.0)
ALL = sorted(errors.request_errors().values(), key=lambda kind: kind.__name__)


def kinds(action: Action) -> list[type[RequestError]]:
    return [kind for kind in ALL if kind.action is action]


@pytest.mark.parametrize("kind", kinds(Action.STOP_RUN))
def test_what_dooms_every_row_stops_the_run(kind: type[RequestError]) -> None:
    assert decide(kind("x", retry_after_s=1.0), FRESH, POLICY, now=100.0, random=0.5) == Stop()


@pytest.mark.parametrize("kind", kinds(Action.END_ROW))
def test_what_the_same_request_meets_again_ends_the_row(kind: type[RequestError]) -> None:
    assert decide(kind("x", retry_after_s=1.0), FRESH, POLICY, now=100.0, random=0.5) == GiveUp("terminal")


@pytest.mark.parametrize("kind", kinds(Action.RETRY))
def test_a_failed_attempt_is_counted_and_repeated(kind: type[RequestError]) -> None:
    decision = decide(kind("x"), FRESH, POLICY, now=100.0, random=0.5)
    assert isinstance(decision, Retry)
    assert decision.history.attempts_used == 1
    assert decision.history.free_retries == 0
    assert decision.freeze_s is None


@pytest.mark.parametrize("kind", kinds(Action.RETRY_FREE))
def test_a_refusal_uses_no_attempt(kind: type[RequestError]) -> None:
    decision = decide(kind("x"), replace(FRESH, attempts_used=7), POLICY, now=100.0, random=0.5)
    assert isinstance(decision, Retry)
    assert decision.history == replace(FRESH, attempts_used=7, free_retries=1)


def test_the_last_attempt_is_the_last() -> None:
    error = errors.ServerError("x")
    assert isinstance(decide(error, replace(FRESH, attempts_used=6), POLICY, now=100.0, random=0.5), Retry)
    assert decide(error, replace(FRESH, attempts_used=7), POLICY, now=100.0, random=0.5) == GiveUp("attempts")


def test_one_attempt_means_no_retry() -> None:
    policy = replace(POLICY, max_attempts=1)
    assert decide(errors.ServerError("x"), FRESH, policy, now=100.0, random=0.5) == GiveUp("attempts")


def test_time_outs_have_their_own_bound() -> None:
    error = errors.RequestTimeoutError("x")
    first = decide(error, FRESH, POLICY, now=100.0, random=0.5)
    assert isinstance(first, Retry)
    assert first.history == replace(FRESH, attempts_used=1, timeouts=1)
    assert decide(error, first.history, POLICY, now=100.0, random=0.5) == GiveUp("timeouts")
    assert isinstance(decide(errors.ServerError("x"), first.history, POLICY, now=100.0, random=0.5), Retry)
    assert decide(error, FRESH, replace(POLICY, max_timeouts=0), now=100.0, random=0.5) == GiveUp("timeouts")
    many = replace(FRESH, attempts_used=3, timeouts=3)
    assert isinstance(decide(errors.ServerError("x"), many, POLICY, now=100.0, random=0.5), Retry)


def test_a_time_out_that_the_server_tells_of_is_none_of_ours() -> None:
    error = errors.RequestTimeoutError("x", http_status=408)
    told = decide(error, replace(FRESH, attempts_used=3, timeouts=1), POLICY, now=100.0, random=0.5)
    assert isinstance(told, Retry)
    assert told.history == replace(FRESH, attempts_used=4, timeouts=1)
    assert decide(error, replace(FRESH, attempts_used=7), POLICY, now=100.0, random=0.5) == GiveUp("attempts")


@pytest.mark.parametrize(
    ("error", "history", "ceiling_s"),
    [
        (errors.ServerError("x"), FRESH, 0.5),
        (errors.ServerError("x"), replace(FRESH, attempts_used=3), 4.0),
        (errors.ServerError("x"), replace(FRESH, attempts_used=6), 32.0),
        (errors.RateLimitError("x"), FRESH, 0.5),
        (errors.RateLimitError("x"), replace(FRESH, free_retries=6), 32.0),
        (errors.RateLimitError("x"), replace(FRESH, free_retries=7), 60.0),
        (errors.RateLimitError("x"), replace(FRESH, free_retries=100_000), 60.0),
        (errors.RateLimitError("x"), replace(FRESH, attempts_used=6), 0.5),
    ],
)
def test_the_wait_is_drawn_below_a_ceiling_that_doubles(
    error: RequestError, history: History, ceiling_s: float
) -> None:
    for random in (0.0, 0.25, 0.999):
        decision = decide(error, history, POLICY, now=100.0, random=random)
        assert isinstance(decision, Retry)
        assert decision.wait_s == pytest.approx(random * ceiling_s)


@pytest.mark.parametrize("kind", [errors.RateLimitError, errors.OverloadError])
def test_a_refusal_with_a_wait_freezes_for_exactly_that(kind: type[RequestError]) -> None:
    decision = decide(kind("x", retry_after_s=120.0), FRESH, POLICY, now=100.0, random=0.0)
    assert decision == Retry(120.0, replace(FRESH, free_retries=1), freeze_s=120.0)


def test_the_wait_of_one_rows_failure_freezes_nobody() -> None:
    decision = decide(errors.ServerError("x", retry_after_s=120.0), FRESH, POLICY, now=100.0, random=0.0)
    assert decision == Retry(120.0, replace(FRESH, attempts_used=1), freeze_s=None)


def test_rows_with_the_same_retry_after_do_not_return_together() -> None:
    error = errors.RateLimitError("x", retry_after_s=100.0)
    waits = [decide(error, FRESH, POLICY, now=100.0, random=random) for random in (0.0, 0.5, 0.9)]
    assert [wait.wait_s for wait in waits if isinstance(wait, Retry)] == [100.0, 105.0, 109.0]


def test_even_a_short_retry_after_is_spread() -> None:
    decision = decide(errors.RateLimitError("x", retry_after_s=1.0), FRESH, POLICY, now=100.0, random=0.8)
    assert isinstance(decision, Retry)
    assert decision.wait_s == pytest.approx(1.4)


def test_a_retry_after_of_nothing_still_backs_off() -> None:
    error = errors.RateLimitError("x", retry_after_s=0.0)
    decision = decide(error, replace(FRESH, free_retries=20), POLICY, now=100.0, random=0.5)
    assert isinstance(decision, Retry)
    assert decision.wait_s == 30.0


def test_a_retry_after_beyond_the_deadline_gives_the_row_up_and_still_freezes() -> None:
    error = errors.RateLimitError("x", retry_after_s=3600.0)
    assert isinstance(decide(error, FRESH, POLICY, now=100.0, random=0.9), Retry)
    assert decide(error, FRESH, POLICY, now=100.1, random=0.9) == GiveUp("deadline", freeze_s=3600.0)


def test_time_in_a_pause_does_not_count_for_the_deadline() -> None:
    error = errors.ServerError("x")
    assert decide(error, FRESH, POLICY, now=3700.0, random=0.0) == GiveUp("deadline")
    paused = replace(FRESH, paused_s=1.0)
    assert isinstance(decide(error, paused, POLICY, now=3700.0, random=0.0), Retry)


def test_the_jitter_is_cut_at_the_deadline() -> None:
    decision = decide(errors.ServerError("x"), replace(FRESH, attempts_used=6), POLICY, now=3699.0, random=0.9)
    assert isinstance(decision, Retry)
    assert decision.wait_s == 1.0


policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 20),
    max_timeouts=st.integers(0, 5),
    first_wait_s=st.floats(0.01, 10),
    max_wait_s=st.floats(0.01, 600),
    deadline_s=st.floats(0.1, 10_000),
)
failures = st.builds(
    lambda kind, wait_s: kind("x", retry_after_s=wait_s),
    st.sampled_from([*kinds(Action.RETRY), *kinds(Action.RETRY_FREE)]),
    st.none() | st.floats(0, 86_400),
)


@given(
    policy=policies,
    steps=st.lists(st.tuples(failures, st.floats(0, 0.999), st.floats(0, 100)), min_size=1, max_size=60),
)
def test_a_row_always_ends_within_its_bounds(
    policy: RetryPolicy, steps: list[tuple[RequestError, float, float]]
) -> None:
    history = FRESH
    now = FRESH.first_sent_at
    attempts = timeouts = 0
    for error, random, took_s in steps:
        now += took_s
        attempts += error.action is Action.RETRY
        timeouts += isinstance(error, errors.RequestTimeoutError)
        decision = decide(error, history, policy, now=now, random=random)
        assert not isinstance(decision, Stop)
        if isinstance(decision, GiveUp):
            over = {
                "attempts": attempts >= policy.max_attempts,
                "timeouts": timeouts > policy.max_timeouts,
                "deadline": now - 100.0 + (error.retry_after_s or 0.0) >= policy.deadline_s * (1 - 1e-9),
            }
            assert over[decision.reason]
            return
        assert attempts < policy.max_attempts
        assert timeouts <= policy.max_timeouts
        assert (error.retry_after_s or 0.0) <= decision.wait_s
        now += decision.wait_s
        assert now - 100.0 <= policy.deadline_s * (1 + 1e-9)
        history = decision.history


@given(policy=policies, free=st.integers(0, 5000), random=st.floats(0, 0.999))
def test_without_a_wish_of_the_server_no_wait_passes_the_maximum(policy: RetryPolicy, free: int, random: float) -> None:
    decision = decide(errors.OverloadError("x"), replace(FRESH, free_retries=free), policy, now=100.0, random=random)
    assert isinstance(decision, Retry)
    assert 0.0 <= decision.wait_s <= min(policy.max_wait_s, policy.deadline_s)
