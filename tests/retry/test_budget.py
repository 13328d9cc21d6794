"""Owns the retry budget: how many retries go out by what is answered, and that none waits for ever."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import errors
from runner.retry import RetryBudget, cost_of
from runner.retry.budget import MOST, PER_ANSWER, SLOWEST_PER_S


def spent() -> RetryBudget:
    budget = RetryBudget()
    while budget.take(0.0, 1.0, alone=False):
        pass
    return budget


@pytest.mark.parametrize(
    ("kind", "cost"),
    [
        (errors.RateLimitError, 0.0),
        (errors.StaleConnectionError, 0.0),
        (errors.OverloadError, 1.0),
        (errors.ServerError, 1.0),
        (errors.DisconnectError, 1.0),
        (errors.ConnectError, 1.0),
        (errors.InvalidResponseError, 1.0),
        (errors.RequestTimeoutError, 2.0),
    ],
)
def test_each_failure_has_its_cost(kind: type[errors.RequestError], cost: float) -> None:
    assert cost_of(kind("x")) == cost


def test_a_hundred_retries_are_in_hand_and_ten_answers_bring_another() -> None:
    budget = RetryBudget()
    assert sum(budget.take(0.0, 1.0, alone=False) for _ in range(200)) == 100
    for _ in range(9):
        budget.note_answer()
    assert not budget.take(0.0, 1.0, alone=False)
    for _ in range(2):  # ten tenths are a little less than one
        budget.note_answer()
    assert budget.take(0.0, 1.0, alone=False)
    assert not budget.take(0.0, 1.0, alone=False)


def test_answers_fill_no_more_than_the_bucket_holds() -> None:
    budget = RetryBudget()
    for _ in range(5000):
        budget.note_answer()
    assert budget.in_hand == MOST


def test_a_steady_seven_in_a_hundred_never_empty_it() -> None:
    chance = Random(7)  # noqa: S311 - a seed, not a secret
    budget = RetryBudget()
    for number in range(100_000):
        if chance.random() < 0.07:
            budget.note_failure()
            assert budget.in_hand >= 1.0, number
            assert budget.take(0.0, 1.0, alone=False)
        else:
            budget.note_answer()


def test_in_a_storm_retries_stay_below_a_tenth_of_the_answers() -> None:
    """Fault case 30: half of all requests fail for five minutes, a hundred are sent each second, rows enough."""
    chance, budget = Random(30), RetryBudget()  # noqa: S311 - a seed, not a secret
    waiting = answered = retries = 0
    for number in range(30_000):
        if waiting and budget.take(number / 100, 1.0, alone=False):
            waiting -= 1
            retries += 1
        if chance.random() < 0.5:
            budget.note_answer()
            answered += 1
        else:
            budget.note_failure()
            waiting += 1
    assert retries <= 0.1 * answered + 100
    assert waiting > 10_000  # deferred, every one of them; none has failed


def test_where_nothing_else_goes_out_retries_go_at_a_slow_pace() -> None:
    budget = spent()
    sent_at = []
    for tick in range(1000):
        now = tick / 100
        if budget.take(now, 1.0, alone=True):
            sent_at.append(now)
            budget.note_failure()
    assert len(sent_at) == pytest.approx(10 * SLOWEST_PER_S, abs=1)
    assert min(later - sooner for sooner, later in itertools.pairwise(sent_at)) > 0.15  # one by one


def test_a_server_that_is_sound_again_has_all_that_waited_within_seconds() -> None:
    chance, budget = Random(1), spent()  # noqa: S311 - a seed, not a secret
    waiting, now = 2600, 0.0
    while waiting:
        now += 0.01  # the limiter lets a hundred a second go
        if budget.take(now, 1.0, alone=True):
            if chance.random() < 0.07:
                budget.note_failure()
            else:
                budget.note_answer()
                waiting -= 1
    assert now < 2600 / 93 * 1.5


def test_beside_fresh_rows_nothing_goes_at_a_pace_until_the_server_is_sound() -> None:
    budget = spent()
    assert budget.wait_s(5.0, 1.0, alone=False) == math.inf
    assert budget.wait_s(5.0, 1.0, alone=True) == 0.0
    for _ in range(31):
        budget.note_answer()
    assert budget.wait_s(5.0, 4.0, alone=False) == math.inf  # 3.1 are in hand
    budget.note_answer()
    assert budget.wait_s(5.0, 4.0, alone=False) == 0.0
    budget.note_failure()
    assert budget.wait_s(5.0, 4.0, alone=False) == math.inf


def test_failures_in_a_row_end_with_an_answer() -> None:
    budget = RetryBudget()
    for _ in range(3):
        budget.note_failure()
    assert budget.failures_in_a_row == 3
    budget.note_answer()
    assert budget.failures_in_a_row == 0


@given(st.lists(st.sampled_from(["answer", "failure", "take"]), max_size=300), st.sampled_from([1.0, 2.0]))
def test_a_retry_that_is_alone_never_waits_longer_than_the_slowest_pace(events: list[str], cost: float) -> None:
    budget, taken, answers = RetryBudget(), 0.0, 0
    for event in events:
        if event == "answer":
            budget.note_answer()
            answers += 1
        elif event == "failure":
            budget.note_failure()
        elif budget.take(1.0, cost, alone=False):
            taken += cost
        wait_s = budget.wait_s(1.0, cost, alone=True)
        assert 0.0 <= wait_s <= cost / SLOWEST_PER_S
        assert budget.take(1.0 + wait_s, 0.0, alone=True)
    if "answer" not in events:
        assert taken <= MOST + PER_ANSWER * answers
