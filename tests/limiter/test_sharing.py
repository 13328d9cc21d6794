"""Processes that share a limit, in virtual time: how soon parts are right after a change, and that they rest."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from runner.limiter import Claim, Demand, Unit
from runner.limiter.demand import Metered
from runner.limiter.shares import renewed

LIMIT = 6_000.0
TURN_S = 0.5


@dataclass
class Process:
    """One that could use `could` a minute; it takes its turns `offset_s` after the others' first."""

    could: float
    offset_s: float = 0.0
    part: float = 0.0
    charged: float = 0.0
    claim: dict[Unit, Claim] = field(default_factory=dict)
    demand: Demand | None = None


@dataclass
class Machine:
    """All of them, on one clock."""

    processes: list[Process]
    now: float = 0.0
    most: float = 0.0

    def run(self, seconds: float) -> None:
        """Let time pass, in tenths of a second."""
        for _ in range(round(10 * seconds)):
            for one in self.processes:
                if abs((self.now - one.offset_s) / TURN_S - round((self.now - one.offset_s) / TURN_S)) < 1e-6:
                    self._turn(one)
            self.most = max(self.most, sum(one.part for one in self.processes))
            self.now = round(self.now + 0.1, 6)
            for one in self.processes:
                one.charged += min(one.could, one.part) / 600

    def _turn(self, one: Process) -> None:
        one.demand = one.demand or Demand(self.now)
        metered = {Unit.REQUESTS: Metered(LIMIT, max(one.part, 1.0), one.charged)}
        wanted = one.demand.note(self.now, metered, waiting=one.could > one.part)
        others = [other.claim for other in self.processes if other is not one]
        one.claim = renewed({Unit.REQUESTS: Claim(LIMIT, wanted[Unit.REQUESTS], one.part)}, others)
        one.part = one.claim[Unit.REQUESTS].granted

    @property
    def parts(self) -> list[float]:
        return [one.part for one in self.processes]


def machine(*could: float) -> Machine:
    """Return processes that have been at it for a while, with turns at different moments."""
    made = Machine([Process(one, offset_s=0.1 * number) for number, one in enumerate(could)])
    made.run(20.0)
    return made


@pytest.mark.parametrize(
    ("could", "parts"),
    [
        ((9e9, 9e9, 9e9, 9e9), [1_500] * 4),
        ((600, 9e9), [900, 5_100]),
        ((0, 9e9, 9e9), [100, 2_950, 2_950]),
        ((600, 1_200, 9e9), [900, 1_800, 3_300]),
    ],
)
def test_parts_are_as_they_should_be_and_rest(could: tuple[float, ...], parts: list[float]) -> None:
    shared = machine(*could)
    for _ in range(20):
        assert shared.parts == pytest.approx(parts, rel=0.01)
        shared.run(0.5)
    assert shared.most <= LIMIT * (1 + 1e-9)


def test_a_newcomer_has_its_part_within_two_seconds() -> None:
    shared = machine(9e9, 9e9, 9e9)
    shared.processes.append(Process(9e9, offset_s=0.3))
    shared.run(2.0)
    assert shared.parts == pytest.approx([1_500] * 4)
    assert shared.most <= LIMIT * (1 + 1e-9)


def test_what_a_dead_one_had_is_used_within_a_second() -> None:
    shared = machine(9e9, 9e9, 9e9, 9e9)
    del shared.processes[0]
    shared.run(1.0)
    assert shared.parts == pytest.approx([2_000] * 3)


def test_one_that_begins_to_need_more_has_an_even_part_within_two_seconds() -> None:
    shared = machine(0, 9e9)
    shared.processes[0].could = 9e9
    shared.run(2.0)
    assert shared.parts == pytest.approx([3_000] * 2)
    assert shared.most <= LIMIT * (1 + 1e-9)


def test_one_that_needs_no_more_gives_it_up_within_seven_seconds() -> None:
    shared = machine(9e9, 9e9)
    shared.processes[0].could = 0
    shared.run(7.0)
    assert shared.parts == pytest.approx([150, 5_850])
