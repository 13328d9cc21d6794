"""A breaker opens when its server is out, asks seldom, and closes with the first answer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.limiter import Breaker, BreakerPolicy
from runner.limiter.breaker import BreakerState

POLICY = BreakerPolicy(failures=3, first_open_s=1.0, most_open_s=8.0)


def fail(breaker: Breaker, now: float, *, probe: int = 0, row: bytes | None = None, random: float = 0.0) -> None:
    breaker.fail(now, probe, row, POLICY, random=random)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(POLICY.failures):
        fail(breaker, at)
    return breaker


def state(breaker: Breaker, now: float) -> BreakerState:
    return breaker.statistics(now).state


@pytest.mark.parametrize(
    ("endings", "expected"),
    [
        ("..", BreakerState.CLOSED),
        ("...", BreakerState.OPEN),
        ("..+..", BreakerState.CLOSED),  # an answer between
        ("..+...", BreakerState.OPEN),
        ("aaaaaa", BreakerState.CLOSED),  # one row alone
        ("abab", BreakerState.CLOSED),
        ("abc", BreakerState.OPEN),
        ("aa.b", BreakerState.OPEN),
        ("ab+abc", BreakerState.OPEN),  # each row counts again after an answer
        ("ab+ab", BreakerState.CLOSED),
    ],
)
def test_so_many_failures_without_an_answer_between_open_it(endings: str, expected: BreakerState) -> None:
    breaker = Breaker()
    for ending in endings:
        if ending == "+":
            breaker.succeed(0.0)
        else:
            fail(breaker, 0.0, row=None if ending == "." else ending.encode())
    assert state(breaker, 0.0) is expected
    assert (breaker.wait_s(0.0) > 0.0) is (expected is BreakerState.OPEN)


def test_half_open_one_probe_goes_at_a_time() -> None:
    breaker = opened()
    assert (breaker.wait_s(0.25), state(breaker, 0.25)) == (0.75, BreakerState.OPEN)
    assert (breaker.wait_s(1.0), state(breaker, 1.0)) == (0.0, BreakerState.HALF_OPEN)
    probe = breaker.admit()
    assert probe > 0
    assert breaker.wait_s(100.0) == math.inf
    breaker.lose(probe)
    assert breaker.wait_s(100.0) == 0.0


def test_each_probe_that_fails_doubles_the_time_up_to_a_cap_and_an_answer_ends_it() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(6):
        waits.append(breaker.wait_s(now))
        now += waits[-1]
        fail(breaker, now, probe=breaker.admit())
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert breaker.statistics(now).open_for_s == now
    breaker.succeed(now)
    assert (state(breaker, now), breaker.sound_at, breaker.wait_s(now)) == (BreakerState.CLOSED, now, 0.0)
    for _ in range(POLICY.failures):
        fail(breaker, now)
    assert breaker.wait_s(now) == 1.0
    assert breaker.statistics(now).openings == 2


def test_what_went_out_before_says_nothing_new_when_it_fails_but_an_answer_counts() -> None:
    breaker = opened()
    fail(breaker, 0.5)
    assert breaker.wait_s(0.5) == 0.5
    breaker.succeed(0.6)
    assert state(breaker, 0.6) is BreakerState.CLOSED


def test_a_probe_of_an_earlier_opening_does_not_count_for_this_one() -> None:
    breaker = opened()
    old = breaker.admit()
    breaker.succeed(2.0)
    for _ in range(POLICY.failures):
        fail(breaker, 3.0)
    new = breaker.admit()
    assert new != old
    fail(breaker, 4.0, probe=old)
    breaker.lose(old)
    assert breaker.wait_s(4.0) == math.inf  # the new one is still under way


def test_chance_only_shortens_the_time() -> None:
    breaker = Breaker()
    for _ in range(POLICY.failures):
        fail(breaker, 0.0, random=0.999)
    assert 0.8 <= breaker.wait_s(0.0) < 0.81


steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "answer", "down", "broken", "lost", "wait"]), st.integers(0, 9), st.floats(0.0, 20.0)
    ),
    max_size=120,
)


@given(steps, st.floats(0.0, 1.0, exclude_max=True))
def test_whatever_happens_one_probe_is_under_way_and_the_next_is_never_far(
    happened: list[tuple[str, int, float]], random: float
) -> None:
    breaker, now = Breaker(), 0.0
    under_way: list[int] = []
    probes: set[int] = set()
    for what, number, seconds in happened:
        if what == "wait":
            now += seconds
        elif what == "send":
            if breaker.wait_s(now) == 0.0:
                probe = breaker.admit() if breaker.opened_at is not None else 0
                if probe:
                    assert not probes
                    probes = {probe}
                under_way.append(probe)
        elif under_way:
            probe = under_way.pop(number % len(under_way))
            if what == "answer":
                breaker.succeed(now)
            elif what == "lost":
                breaker.lose(probe)
            else:
                fail(breaker, now, probe=probe, row=None if what == "down" else bytes([number]), random=random)
            probes = set() if what == "answer" else probes - {probe}
        # It never shuts for good: either a probe is under way, or one may go within the cap.
        wait_s = breaker.wait_s(now)
        assert wait_s <= POLICY.most_open_s or (wait_s == math.inf and probes)
        assert breaker.statistics(now).failures <= POLICY.failures
