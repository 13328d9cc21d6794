"""Owns what a governor gets out of servers that tell nothing but their refusals, in virtual time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.limiter.governor import START_PER_S, Governor
from tests.support.rate_model import Bucket, ByChance, drive


@pytest.mark.parametrize("per_minute", [1_500, 6_000, 30_000])
@pytest.mark.parametrize("round_trip_s", [0.005, 0.05])
def test_a_limit_that_nobody_tells_is_used_nearly_whole(per_minute: int, round_trip_s: float) -> None:
    limit = per_minute / 60
    course = drive(Governor(0.0, ramp=True), Bucket(lambda _: limit), until=125, round_trip_s=round_trip_s)
    assert course.used(5, 125, limit) > 0.98
    assert course.refused_share < 0.015


@pytest.mark.parametrize("burst_s", [0.2, 10.0])
def test_the_size_of_the_bucket_does_not_matter(burst_s: float) -> None:
    course = drive(Governor(0.0, ramp=True), Bucket(lambda _: 100.0, burst_s), until=125, round_trip_s=0.05)
    assert course.used(5, 125, 100.0) > 0.98


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_limit_that_changes_is_found_again_within_20_s(factor: float) -> None:
    changed = Bucket(lambda at: 100.0 if at < 60 else 100.0 * factor)
    course = drive(Governor(0.0, ramp=True), changed, until=125, round_trip_s=0.05)
    for begin in range(80, 120, 5):
        assert course.used(begin, begin + 5, 100.0 * factor) > 0.9
    assert course.refused_share < 0.02


def test_the_measure_is_the_limit() -> None:
    governor = Governor(0.0, ramp=True)
    drive(governor, Bucket(lambda _: 40.0), until=60, round_trip_s=0.05)
    assert governor.measured == pytest.approx(40.0, rel=0.03)


def test_a_server_without_a_limit_is_not_held_up_for_long() -> None:
    governor = Governor(0.0, ramp=True)
    course = drive(governor, Bucket(lambda _: 1e9), until=10, round_trip_s=0.05)
    assert not course.refused
    assert not governor.active
    assert course.used(6, 10, 5_000) > 0.99


@pytest.mark.parametrize("per_s", [2.0, 40.0])
def test_a_pause_lets_no_rate_grow(per_s: float) -> None:
    governor = Governor(0.0, ramp=True)
    drive(governor, Bucket(lambda _: per_s), until=60, round_trip_s=0.05)
    before, measured = governor.rate(60.0), governor.measured
    governor.skip(3660.0, 3600.0)
    assert governor.rate(3660.0) == pytest.approx(before, rel=0.05)
    number = governor.sent(3660.1)
    governor.refused(3660.2, 3660.1, number)
    assert measured is not None
    assert governor.measured == pytest.approx(measured, rel=0.3)


def test_nothing_is_limited_before_a_first_refusal_where_the_start_is_not_slow() -> None:
    governor = Governor(0.0, ramp=False)
    assert governor.rate(0.0) == math.inf
    numbers = [governor.sent(step / 100) for step in range(100)]
    for number in numbers[-30:]:
        governor.refused(1.0, 0.99, number)
    assert governor.active
    assert 30 < governor.rate(1.0) < 100


@pytest.mark.parametrize("share", [0.01, 0.06])
@pytest.mark.parametrize("ramp", [True, False])
def test_refusals_that_come_by_chance_lower_nothing(share: float, ramp: bool) -> None:  # noqa: FBT001 - a case
    course = drive(Governor(0.0, ramp=ramp), ByChance(share), until=60, round_trip_s=0.05, most_per_s=500)
    assert course.used(30, 60, 500.0) > 0.9


@pytest.mark.parametrize("share", [0.01, 0.03])
def test_a_limit_is_kept_although_some_refusals_come_by_chance(share: float) -> None:
    course = drive(Governor(0.0, ramp=True), ByChance(share, 100.0), until=60, round_trip_s=0.05)
    assert course.used(20, 60, 100.0) > 0.9
    assert course.refused_share < 0.1


def test_a_rate_that_is_not_used_does_not_rise() -> None:
    governor = Governor(0.0, ramp=True)
    for second in range(100):
        governor.sent(float(second))
        assert governor.rate(float(second)) <= START_PER_S


def test_refusals_of_what_was_sent_before_a_cut_lower_nothing_more() -> None:
    governor = Governor(0.0, ramp=True)
    numbers = [governor.sent(step / 50) for step in range(50)]
    for number in numbers[20:40]:
        governor.refused(1.0, 0.9, number)
    lowered = governor.rate(1.0)
    assert lowered < 50
    for number in numbers[40:]:
        governor.refused(1.0, 0.9, number)
    assert governor.rate(1.0) == lowered


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 5), st.booleans(), st.floats(0, 3)), max_size=200),
    st.booleans(),
)
def test_whatever_happens_the_rate_is_above_zero(events: list[tuple[float, bool, float]], ramp: bool) -> None:  # noqa: FBT001 - drawn
    governor, now, number = Governor(0.0, ramp=ramp), 0.0, 0
    for passed, refuses, age in events:
        now += passed
        number = governor.sent(now)
        if refuses:
            governor.refused(now, max(0.0, now - age), number)
        assert governor.rate(now) > 0
