from __future__ import annotations

import pytest

from runner.awake import STANDSTILL_S, TICK_S, AwakeClock, awake_s, watching_standstills


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def watched() -> tuple[AwakeClock, Hands]:
    hands = Hands()
    clock = AwakeClock(hands)
    clock.begin()
    return clock, hands


@pytest.mark.parametrize(
    ("gaps_s", "passed_s"),
    [
        ([TICK_S, TICK_S], 2 * TICK_S),
        ([STANDSTILL_S], STANDSTILL_S),
        ([STANDSTILL_S + 0.01], 0.0),
        ([TICK_S, 3600.0, TICK_S], 2 * TICK_S),
        ([8 * 3600.0, TICK_S, 3600.0], TICK_S),
    ],
)
def test_a_standstill_does_not_count_and_a_busy_moment_does(gaps_s: list[float], passed_s: float) -> None:
    clock, hands = watched()
    begun = clock.now()
    for gap_s in gaps_s:
        hands.now += gap_s
        clock.now()
    assert clock.now() - begun == pytest.approx(passed_s)


def test_it_never_goes_back() -> None:
    clock, hands = watched()
    seen = [clock.now()]
    for gap_s in (0.1, 2.9, 0.3, 50.0, 0.0, 2.99, 3.01):
        hands.now += gap_s
        seen.append(clock.now())
    assert seen == sorted(seen)


def test_without_anybody_who_ticks_a_gap_is_just_time() -> None:
    clock, hands = watched()
    clock.end()
    begun = clock.now()
    hands.now += 3600.0
    assert clock.now() - begun == 3600.0
    clock.begin()  # what passed before is no standstill
    assert clock.now() - begun == 3600.0


@pytest.mark.asyncio
async def test_watching_ends_with_its_context() -> None:
    with watching_standstills():
        first = awake_s()
        with watching_standstills():
            pass
        assert awake_s() >= first
