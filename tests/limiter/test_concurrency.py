"""Owns which number of requests `auto` settles on, against servers that queue, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.limiter.concurrency import MOST, START, Concurrency
from tests.support.queue_model import Queueing, rate, serve


class Fixed(Concurrency):
    """A number that nothing changes."""

    def answered(self, now: float, sent_at: float, amount: float, *, full: bool) -> None:
        """Ignore it."""

    def overloaded(self, now: float, sent_at: float) -> None:
        """Ignore it."""


@pytest.mark.parametrize("knee", [4, 16, 48, 100])
@pytest.mark.parametrize("answer_s", [0.2, 1.0])
def test_the_knee_is_found_within_30_s_and_held(knee: int, answer_s: float) -> None:
    best = max(
        rate(serve(Fixed(0.0, start=number), Queueing(knee, answer_s), until=90), 30, 90)
        for number in (knee, round(1.1 * knee), round(1.3 * knee))
    )
    got = rate(serve(Concurrency(0.0), Queueing(knee, answer_s), until=90), 30, 90)
    assert got > 0.9 * best


def test_a_server_without_a_knee_gets_all_there_is() -> None:
    concurrency = Concurrency(0.0)
    serve(concurrency, Queueing(10**6), until=60)
    assert concurrency.limit == MOST


def test_errors_that_come_by_chance_change_little() -> None:
    healthy = rate(serve(Concurrency(0.0), Queueing(48), until=90), 30, 90)
    assert rate(serve(Concurrency(0.0), Queueing(48, failing=0.07), until=90), 30, 90) > 0.85 * healthy


def test_a_server_that_is_overloaded_gets_less() -> None:
    concurrency = Concurrency(0.0, start=256)
    serve(concurrency, Queueing(10**6, 0.2, most=64), until=60)
    assert 40 <= concurrency.limit <= 80


def test_after_a_storm_that_has_nothing_to_do_with_the_number_all_is_as_before() -> None:
    concurrency = Concurrency(0.0)
    done = serve(concurrency, Queueing(10**6, 0.2, storm=(30, 60)), until=90)
    assert rate(done, 75, 90) > 0.9 * rate(done, 20, 30)


def test_a_run_that_does_not_use_the_number_does_not_raise_it() -> None:
    concurrency = Concurrency(0.0)
    for step in range(1000):
        concurrency.answered(step / 10 + 0.05, step / 10, 1.0, full=False)
    assert concurrency.limit == START


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 5), st.booleans(), st.booleans()), max_size=300))
def test_whatever_happens_the_number_stays_in_its_range(events: list[tuple[float, float, bool, bool]]) -> None:
    concurrency, now = Concurrency(0.0), 0.0
    for passed, age, fails, full in events:
        now += passed
        if fails:
            concurrency.overloaded(now, now - age)
        else:
            concurrency.answered(now, now - age, 1.0, full=full)
        assert 1 <= concurrency.limit <= MOST
