from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.limiter.gcra import Gcra


@dataclass
class SlidingLog:
    """The oracle: remembers every take and allows what no stretch of time up to now forbids."""

    rate: float
    bucket: float
    takes: list[tuple[float, float]] = field(default_factory=list)

    def wait_s(self, now: float, cost: float) -> float:
        needed = min(cost, self.bucket)
        return max((due - now for due in self._due(needed)), default=0.0)

    def _due(self, needed: float) -> list[float]:
        """For each stretch that starts with a take: when it has room for `needed` more."""
        due = []
        total = 0.0
        for start, cost in reversed(self.takes):
            total += cost
            due.append(start + (total + needed - self.bucket) / self.rate)
        return due


# A step: seconds since the last one, cost, and whether to wait for the cost or only to ask.
steps = st.lists(
    st.tuples(st.floats(0, 5) | st.just(0.0), st.integers(0, 300) | st.just(1), st.booleans()), min_size=1, max_size=60
)
limits = st.floats(0.5, 100_000)
bursts = st.sampled_from([0.0, 0.5, 1.0, 10.0])


@given(per_minute=limits, burst_s=bursts, steps=steps, start=st.floats(0, 1e6))
def test_it_allows_exactly_what_a_sliding_log_allows(
    per_minute: float, burst_s: float, steps: list[tuple[float, int, bool]], start: float
) -> None:
    gcra = Gcra(per_minute, burst_s=burst_s)
    rate = per_minute / 60.0
    oracle = SlidingLog(rate, max(1.0, rate * burst_s))
    now = start
    for gap_s, cost, patient in steps:
        now += gap_s
        wait_s = gcra.wait_s(now, cost)
        slack_s = 1e-5 + 1e-9 * wait_s
        assert wait_s == pytest.approx(max(0.0, oracle.wait_s(now, cost)), abs=slack_s)
        if patient:
            now += wait_s
        elif wait_s:
            continue
        gcra.take(now, cost)
        oracle.takes.append((now, cost))


@given(per_minute=limits, burst_s=bursts, steps=steps)
def test_no_stretch_of_time_holds_more_than_the_bucket_and_the_rate(
    per_minute: float, burst_s: float, steps: list[tuple[float, int, bool]]
) -> None:
    gcra = Gcra(per_minute, burst_s=burst_s)
    rate = per_minute / 60.0
    bucket = max(1.0, rate * burst_s)
    now = 0.0
    takes: list[tuple[float, int]] = []
    for gap_s, cost, _ in steps:
        now += gap_s
        now += gcra.wait_s(now, cost)
        gcra.take(now, cost)
        takes.append((now, cost))
    for end, (until, last) in enumerate(takes):
        total = min(float(last), bucket)
        for since, cost in reversed(takes[:end]):
            total += cost
            allowed = bucket + rate * (until - since)
            assert total <= allowed * (1 + 1e-9) + rate * 1e-5


@given(per_minute=st.floats(60, 100_000), count=st.integers(2, 200))
def test_a_backlog_runs_at_the_full_rate(per_minute: float, count: int) -> None:
    gcra = Gcra(per_minute)
    now = 0.0
    for _ in range(count):
        now += gcra.wait_s(now, 1)
        gcra.take(now, 1)
    rate = per_minute / 60.0
    assert now == pytest.approx(max(0.0, (count - rate) / rate), abs=1e-3)


def test_a_full_bucket_lets_one_second_through_and_then_keeps_the_pace() -> None:
    gcra = Gcra(600.0)
    for _ in range(10):
        assert gcra.wait_s(5.0, 1) == 0.0
        gcra.take(5.0, 1)
    assert gcra.wait_s(5.0, 1) == pytest.approx(0.1)
    assert gcra.wait_s(5.1, 1) == 0.0


def test_a_slow_limit_still_lets_one_request_through() -> None:
    gcra = Gcra(6.0)
    assert gcra.wait_s(0.0, 1) == 0.0
    gcra.take(0.0, 1)
    assert gcra.wait_s(0.0, 1) == pytest.approx(10.0)


def test_a_cost_above_the_bucket_waits_until_it_is_full_and_leaves_a_debt() -> None:
    gcra = Gcra(600.0)
    gcra.take(0.0, 4)
    assert gcra.wait_s(0.0, 50) == pytest.approx(0.4)
    gcra.take(0.4, 50)
    assert gcra.wait_s(0.4, 1) == pytest.approx(4.1)
    assert gcra.wait_s(0.4, 50) == pytest.approx(5.0)


@pytest.mark.parametrize("jump_s", [1.0, 60.0, 8 * 3600.0, 1e8])
def test_a_jump_of_the_clock_saves_up_no_more_than_the_burst(jump_s: float) -> None:
    gcra = Gcra(600.0)
    gcra.take(0.0, 10)
    admitted = 0
    while gcra.wait_s(jump_s, 1) == 0.0:
        gcra.take(jump_s, 1)
        admitted += 1
    assert admitted == 10


def test_a_refund_makes_room_at_once() -> None:
    gcra = Gcra(600.0)
    gcra.take(0.0, 30)
    assert gcra.wait_s(0.0, 1) == pytest.approx(2.1)
    gcra.give(25)
    assert gcra.wait_s(0.0, 5) == 0.0
    assert gcra.wait_s(0.0, 6) == pytest.approx(0.1)


@given(
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 500), st.integers(0, 500)), max_size=30),
    per_minute=limits,
)
def test_no_refund_overfills_the_bucket(steps: list[tuple[float, int, int]], per_minute: float) -> None:
    gcra = Gcra(per_minute)
    bucket = max(1.0, per_minute / 60.0)
    now = 0.0
    for gap_s, taken, given_back in steps:
        now += gap_s
        gcra.take(now, taken)
        gcra.give(given_back)
        gcra_full = Gcra(per_minute)
        gcra_full.take(now, bucket)
        gcra.take(now, bucket)
        assert gcra.wait_s(now, 1) >= gcra_full.wait_s(now, 1) - 1e-6
        gcra.give(bucket)


def test_a_refund_to_a_full_bucket_is_lost_even_before_a_later_debt() -> None:
    gcra = Gcra(600.0)
    gcra.give(1000)
    gcra.take(100.0, 20)
    assert gcra.wait_s(100.0, 10) == pytest.approx(2.0)


def test_asking_changes_nothing() -> None:
    gcra = Gcra(60.0)
    gcra.take(0.0, 1)
    assert [gcra.wait_s(0.25, 1) for _ in range(3)] == [0.75] * 3
    assert math.isfinite(gcra.wait_s(-1e9, 1))
