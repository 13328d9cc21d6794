"""Owns the course of rows after failed attempts, by the error, the row's history and what the session has seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import (
    Action,
    AuthError,
    BadRequestError,
    ConnectError,
    DisconnectError,
    OverloadError,
    QuotaError,
    RateLimitError,
    RequestError,
    RequestTimeoutError,
    ServerError,
    StaleConnectionError,
)
from runner.pipeline.sending.control import StopKind
from runner.pipeline.sending.course import Divide, Fail, Halt, Seen, course_after, named
from runner.pipeline.sending.outage import Standing
from runner.retry import History, Retry, RetryPolicy, Stop, decide

if TYPE_CHECKING:
    from runner.pipeline.sending.course import Course

POLICY = RetryPolicy(max_attempts=3, max_timeouts=1, deadline_s=100.0)
NEW = History(first_sent_at=10.0)
WORN = History(first_sent_at=10.0, attempts_used=2)
LATE_BY_ITS_SERVER = RateLimitError("wait", retry_after_s=500.0)
KINDS: list[type[RequestError]] = sorted(
    {kind for base in RequestError.__subclasses__() for kind in (base, *base.__subclasses__())},
    key=lambda kind: kind.__name__,
)


def seen(*, answered: int = 1, last_answer_at: float = 5.0, **more: Any) -> Seen:
    return Seen(20.0, answered, last_answer_at, **{"packs": False, **more})


def course(error: RequestError, history: History, what: Seen) -> Course:
    return course_after(error, history, POLICY, what, random=0.5)


@pytest.mark.parametrize(
    ("error", "history", "expected", "of_a_pack"),
    [
        (BadRequestError("no"), NEW, Fail(), Divide()),
        (ServerError("oops"), WORN, Fail(), Divide()),
        (DisconnectError("gone"), WORN, Fail(), Divide()),
        (RequestTimeoutError("slow"), History(10.0, attempts_used=1, timeouts=1), Fail(), Fail()),
        (LATE_BY_ITS_SERVER, NEW, Fail(500.0), Fail(500.0)),
        (ServerError("oops"), History(first_sent_at=-90.0), Fail(), Fail()),
        (AuthError("no"), NEW, Halt(StopKind.DOOMED), Halt(StopKind.DOOMED)),
        (QuotaError("no"), WORN, Halt(StopKind.DOOMED), Halt(StopKind.DOOMED)),
    ],
)
def test_each_failure_has_its_course(
    error: RequestError, history: History, expected: Course, of_a_pack: Course
) -> None:
    assert course(error, history, seen()) == expected
    assert course(error, history, seen(packs=True)) == of_a_pack


@pytest.mark.parametrize(
    ("kind", "retry_after_s", "failures_in_a_row", "held"),
    [
        (RateLimitError, 3.0, 0, True),
        (OverloadError, 3.0, 9, False),  # others are answered: it is this row's wait alone
        (OverloadError, 3.0, 10, True),
        (OverloadError, 61.0, 0, True),  # longer than any wait of our own
    ],
)
def test_a_wait_that_is_everyones_is_handed_on_with_the_retry(
    kind: type[RequestError], retry_after_s: float, failures_in_a_row: int, *, held: bool
) -> None:
    error = kind("wait", retry_after_s=retry_after_s)
    decided = course(error, NEW, seen(failures_in_a_row=failures_in_a_row))
    assert isinstance(decided, Retry)
    assert decided.freeze_s == (retry_after_s if held else None)
    assert decided.wait_s >= retry_after_s


@pytest.mark.parametrize(
    ("history", "what", "unreachable"),
    [
        (History(10.0, attempts_used=1), seen(answered=0, last_answer_at=0.0), False),  # the second try of four
        (History(10.0, attempts_used=3), seen(answered=0, last_answer_at=0.0), True),
        (History(10.0, attempts_used=3), seen(answered=1, last_answer_at=5.0), False),  # it was there before
        (History(10.0, attempts_used=9), seen(answered=1, last_answer_at=5.0), True),  # and has not been since
        (History(10.0, attempts_used=9), seen(answered=1, last_answer_at=15.0), False),  # it answers others
    ],
)
def test_a_server_is_not_there_when_this_row_never_reached_it_and_no_other_did(
    history: History, what: Seen, *, unreachable: bool
) -> None:
    policy = RetryPolicy(max_attempts=10)
    decided = course_after(ConnectError("refused"), history, policy, what, random=0.5)
    assert (decided == Halt(StopKind.UNREACHABLE)) is unreachable


def test_a_pack_that_reached_nobody_is_not_asked_for_in_parts() -> None:
    assert course(ConnectError("refused"), WORN, seen(packs=True)) == Halt(StopKind.UNREACHABLE)


def test_poison_ends_its_row_where_it_would_be_sent_again() -> None:
    assert course(ServerError("oops"), NEW, seen(poison=True)) == Fail(poison=True)
    assert course(ServerError("oops"), WORN, seen(poison=True)) == Fail()  # its attempts are used up anyway
    assert course(AuthError("no"), NEW, seen(poison=True)) == Halt(StopKind.DOOMED)


def test_a_pack_is_no_poison_before_its_parts_are() -> None:
    assert isinstance(course(ServerError("oops"), NEW, seen(poison=True, packs=True)), Retry)
    assert course(ServerError("oops"), WORN, seen(poison=True, packs=True)) == Divide()


def test_a_connection_that_breaks_again_is_the_requests_own_doing() -> None:
    stale = StaleConnectionError("closed")
    assert named(stale, None) is stale
    assert named(stale, NEW) is stale
    again = named(stale, History(10.0, free_retries=1))
    assert isinstance(again, DisconnectError)
    assert again.message == stale.message
    assert again.action is Action.RETRY


OUT = Standing(excused=True)
SLOW = RequestTimeoutError("slow")


@pytest.mark.parametrize(
    ("error", "history", "expected"),
    [
        (ServerError("oops"), WORN, History(10.0, attempts_used=2, free_retries=1)),
        (DisconnectError("cut"), History(-500.0, attempts_used=2), History(-500.0, attempts_used=2, free_retries=1)),
        (ConnectError("refused"), History(10.0, attempts_used=3), History(10.0, attempts_used=3, free_retries=1)),
        (SLOW, NEW, History(10.0, timeouts=1, free_retries=1)),
        (SLOW, History(10.0, timeouts=1), None),  # it may have been billed twice
        (ServerError("oops"), History(10.0, timeouts=2), History(10.0, timeouts=2, free_retries=1)),
    ],
)
def test_a_row_whose_server_is_out_uses_no_attempt_and_no_deadline(
    error: RequestError, history: History, expected: History | None
) -> None:
    decided = course(error, history, replace(seen(answered=0, last_answer_at=0.0, packs=True), servers=OUT))
    if expected is None:
        assert decided == Fail()
    else:
        assert isinstance(decided, Retry)
        assert decided.history == expected
        assert decided.wait_s <= POLICY.first_wait_s


def test_servers_that_are_gone_end_the_run() -> None:
    gone = replace(seen(), servers=replace(OUT, gone=True))
    assert course(ServerError("oops"), NEW, gone) == Halt(StopKind.UNREACHABLE)


@pytest.mark.parametrize(
    "error", [RateLimitError("wait", retry_after_s=3.0), OverloadError("full", retry_after_s=500.0)]
)
def test_a_wait_that_one_server_asks_for_is_its_own_while_another_may_take_the_row(error: RequestError) -> None:
    elsewhere = replace(seen(), servers=Standing(elsewhere=True))
    decided = course(error, NEW, elsewhere)
    assert isinstance(decided, Retry)
    assert decided.freeze_s == error.retry_after_s
    assert decided.wait_s <= POLICY.first_wait_s


def test_nobody_is_unreachable_while_another_server_may_be_there() -> None:
    elsewhere = replace(seen(answered=0, last_answer_at=0.0), servers=Standing(elsewhere=True))
    history = History(10.0, attempts_used=3)
    assert course_after(ConnectError("refused"), history, RetryPolicy(), elsewhere, random=0.5) != Halt(
        StopKind.UNREACHABLE
    )


ERRORS = st.builds(
    lambda kind, after: kind("x", retry_after_s=after), st.sampled_from(KINDS), st.none() | st.floats(0.0, 1e4)
)
HISTORIES = st.builds(History, st.just(10.0), attempts_used=st.integers(0, 12), timeouts=st.integers(0, 3))
SEEN = st.builds(
    Seen,
    st.floats(10.0, 1e5),
    st.integers(0, 3),
    st.floats(0.0, 20.0),
    st.booleans(),
    poison=st.booleans(),
    failures_in_a_row=st.integers(0, 20),
)


@given(error=ERRORS, history=HISTORIES, what=SEEN, random=st.floats(0.0, 1.0, exclude_max=True))
def test_no_course_is_milder_than_the_policy(
    error: RequestError, history: History, what: Seen, *, random: float
) -> None:
    decision = decide(error, history, POLICY, now=what.now, random=random)
    decided = course_after(error, history, POLICY, what, random=random)
    if isinstance(decided, Retry):
        assert isinstance(decision, Retry)
        assert replace(decided, freeze_s=decision.freeze_s) == decision  # nothing goes on that the policy ends
    elif isinstance(decided, Halt):
        assert isinstance(decision, Stop) or isinstance(error, ConnectError)
    elif decided == Fail(poison=True):
        assert isinstance(decision, Retry)
        assert what.poison
    else:
        assert not isinstance(decision, (Retry, Stop))
        assert isinstance(decided, Fail) or what.packs
