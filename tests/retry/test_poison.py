"""Owns poison: the same failure again and again while others are answered, and what must not be taken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner import errors
from runner.retry import PoisonWatch, as_poison
from runner.retry.poison import TIMES, sign_of

if TYPE_CHECKING:
    from runner.retry import Streak

OOPS = errors.ServerError("HTTP 500: oops", http_status=500)


def after(*failures: errors.RequestError, watch: PoisonWatch | None = None, answers_each: int = 1) -> Streak | None:
    """Return a row's streak after some failures, between which others were answered."""
    watch, streak, answered = watch or PoisonWatch(), None, 10
    for failure in failures:
        streak = watch.lengthen(streak, failure, answered)
        answered += answers_each
    return streak


def test_three_times_the_same_while_others_are_answered_is_poison() -> None:
    watch = PoisonWatch()
    assert [watch.is_poison(after(*[OOPS] * times), 20) for times in range(5)] == [False, False, False, True, True]


def test_while_nobody_is_answered_nothing_is_poison() -> None:
    streak = after(*[OOPS] * 6, answers_each=0)
    assert not PoisonWatch().is_poison(streak, 10)
    assert PoisonWatch().is_poison(streak, 11)


@pytest.mark.parametrize(
    "other",
    [
        errors.ServerError("HTTP 500: something else", http_status=500),
        errors.ServerError("HTTP 502: oops", http_status=502),
        errors.DisconnectError("HTTP 500: oops"),
        errors.RequestTimeoutError("no answer"),
        errors.OverloadError("full", http_status=503),
    ],
)
def test_failures_that_vary_are_no_streak(other: errors.RequestError) -> None:
    streak = after(OOPS, OOPS, other, OOPS, OOPS)
    assert streak is not None
    assert streak.times == 2


@pytest.mark.parametrize(
    "kind",
    [errors.RequestTimeoutError, errors.ConnectError, errors.RateLimitError, errors.OverloadError],
)
def test_what_tells_of_the_server_is_never_poison(kind: type[errors.RequestError]) -> None:
    assert after(*[kind("x")] * 9) is None


def test_ids_and_times_in_a_text_do_not_make_it_another() -> None:
    first = errors.ServerError("HTTP 500: worker died after 1.31 s (request id: req_8f3a)", http_status=500)
    second = errors.ServerError("HTTP 500: worker died after 0.02 s (request id: req_11bc)", http_status=500)
    assert sign_of(first) == sign_of(second)
    assert sign_of(first) != sign_of(errors.ServerError("HTTP 500: worker left after 1.31 s", http_status=500))


def test_a_failure_that_a_retry_mended_for_any_row_is_chance() -> None:
    watch = PoisonWatch()
    streak = after(*[OOPS] * TIMES)
    assert watch.is_poison(streak, 20)
    watch.note_mended(None)
    assert watch.is_poison(streak, 20)
    watch.note_mended(after(OOPS))
    assert not watch.is_poison(streak, 20)
    other = after(*[errors.DisconnectError("gone")] * TIMES)
    assert watch.is_poison(other, 20)


def test_a_server_that_never_says_the_same_twice_takes_no_more_memory() -> None:
    watch = PoisonWatch()
    for number in range(10_000):
        text = "".join(chr(97 + int(digit)) for digit in str(number))
        watch.note_mended(after(errors.ServerError(text)))
    assert len(watch._mended) == 4096
    assert not watch.is_poison(after(*[OOPS] * TIMES), 20)


def test_a_poison_rows_failure_keeps_its_kind_and_says_why_it_is_final() -> None:
    streak = after(*[OOPS] * TIMES)
    assert streak is not None
    final = as_poison(OOPS, streak)
    assert (type(final), final.http_status, final.final, OOPS.final) == (errors.ServerError, 500, True, False)
    assert final.message == "HTTP 500: oops (3 times the same, while other rows were answered)"
