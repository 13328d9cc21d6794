"""What a process could use: all of a limit that requests wait for, otherwise somewhat more than it used."""

from __future__ import annotations

from runner.limiter import Demand, Unit
from runner.limiter.demand import HOLD_S, Metered

LIMIT = 6_000.0


def requests(charged: float, in_force: float = LIMIT) -> dict[Unit, Metered]:
    return {Unit.REQUESTS: Metered(LIMIT, in_force, charged)}


def wanted_after(waiting: list[bool], per_s: float = 10.0) -> list[float]:
    """Return what is wanted at each of the times half a second apart, from long after the start on."""
    demand = Demand(0.0)
    times = [100.0 + 0.5 * number for number in range(len(waiting))]
    return [
        demand.note(at, requests(per_s * at), waiting=seen)[Unit.REQUESTS]
        for at, seen in zip(times, waiting, strict=True)
    ]


def test_at_first_all_is_wanted_and_what_is_not_used_is_given_up_soon() -> None:
    demand = Demand(0.0)
    found = [demand.note(0.5 * number, requests(0.0), waiting=False)[Unit.REQUESTS] for number in range(10)]
    assert found == [LIMIT] * (1 + int(HOLD_S / 0.5)) + [0.0] * 3


def test_without_a_queue_it_is_half_as_much_again_as_was_used() -> None:
    assert wanted_after([False] * 8)[1:] == [900.0] * 7


def test_a_moment_with_a_queue_moves_nothing() -> None:
    assert wanted_after([False, True, False, True, False])[1:] == [900.0] * 4


def test_a_queue_that_lasts_wants_all_and_a_moment_without_one_moves_nothing() -> None:
    found = wanted_after([False, True, True, *[False] * 8])
    assert found[2:9] == [LIMIT] * 7
    assert found[9:] == [900.0] * 2


def test_only_the_limit_that_holds_requests_back_is_wanted_whole() -> None:
    demand = Demand(0.0)
    for second in range(3):
        metered = {
            Unit.REQUESTS: Metered(LIMIT, LIMIT / 2, 50.0 * second),
            Unit.TOKENS: Metered(6e6, 3e6, 5_000.0 * second),
        }
        wanted = demand.note(float(second), metered, waiting=True)
    assert wanted == {Unit.REQUESTS: LIMIT, Unit.TOKENS: 450_000.0}


def test_a_limit_that_becomes_known_is_measured_from_then_on() -> None:
    demand = Demand(0.0)
    demand.note(50.0, {}, waiting=False)
    assert demand.note(51.0, requests(1_000.0), waiting=False) == {Unit.REQUESTS: 0.0}
    assert demand.note(52.0, requests(1_010.0), waiting=False) == {Unit.REQUESTS: 900.0}
