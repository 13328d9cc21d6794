from __future__ import annotations

from typing import Any

import pytest

from runner.simulate.limits import Charge, Gate, LimitChange, Limits
from runner.simulate.rates import RateBook, Step, permitted

TEN_TOKENS = Charge(3, 7)


class Counter:
    """A gate and its books on one clock."""

    def __init__(self, limits: Limits) -> None:
        self.book = RateBook()
        self.change(limits, 100.0)

    def change(self, limits: Limits, now: float) -> None:
        self.gate = Gate(limits)
        self.book.set_limits(limits, now)

    def ask(self, now: float, times: int = 1, charge: Charge = TEN_TOKENS) -> None:
        for _ in range(times):
            self.book.note(charge, self.gate.admit(charge, now), now)

    def limit(self, name: str, from_s: int = 0, until_s: int | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.book.span(from_s, until_s)["limits"][name]
        return found


def test_a_span_counts_in_what_each_limit_charges() -> None:
    counter = Counter(Limits(600, 6000, burst_s=1))
    for second in range(11):
        counter.ask(200.5 + second, 12)
    assert counter.book.span(5, 10) == {
        "from_s": 5,
        "until_s": 10,
        "requests": 60,
        "refused": 10,
        "refused_fraction": pytest.approx(1 / 6),
        "answered": 0,
        "completion_tokens": 0,
        "limits": {
            "requests": {"permitted": 50.0, "charged": 50, "used_fraction": 1.0, "refused": 10},
            "tokens": {"permitted": 500.0, "charged": 500, "used_fraction": 1.0, "refused": 0},
        },
    }


def test_a_span_ends_with_the_last_whole_second_unless_told() -> None:
    counter = Counter(Limits(600))
    for now in (100.0, 103.0, 104.9):
        counter.ask(now)
    assert counter.book.span(0, None)["until_s"] == 4
    assert counter.limit("requests")["charged"] == 2
    assert counter.limit("requests", 0, 60)["permitted"] == 600


def test_nothing_is_known_before_the_first_request() -> None:
    book = RateBook()
    book.set_limits(Limits(600), 5.0)
    assert list(book.seconds()) == []
    span = book.span(0, None)
    assert (span["requests"], span["refused_fraction"]) == (0, None)
    assert span["limits"]["requests"] == {"permitted": 0, "charged": 0, "used_fraction": None, "refused": 0}


def test_what_is_permitted_follows_the_changes() -> None:
    counter = Counter(Limits(600, changes=(LimitChange(10, "requests", 300), LimitChange(5, "tokens", 60))))
    counter.ask(200.0)
    assert counter.limit("requests", 5, 15)["permitted"] == 75
    assert counter.limit("tokens", 0, 65)["permitted"] == 60


def test_other_limits_from_now_on_replace_those_that_were_to_come() -> None:
    counter = Counter(Limits(600, 6000, changes=(LimitChange(10, "requests", 60_000),)))
    counter.ask(200.0)
    counter.change(Limits(60), 205.0)
    assert counter.limit("requests", 0, 20)["permitted"] == pytest.approx(5 * 10 + 15 * 1)
    assert counter.limit("tokens", 0, 20)["permitted"] == pytest.approx(5 * 100)


def test_seconds_come_one_by_one_without_gaps() -> None:
    counter = Counter(Limits(60, burst_s=1))
    counter.ask(200.0, 2)
    counter.book.note_answer(9, 202.5)
    seconds = list(counter.book.seconds())
    assert [(one["second"], one["requests"], one["refused"], one["answered"]) for one in seconds] == [
        (0, 2, 1, 0),
        (1, 0, 0, 0),
        (2, 0, 0, 1),
    ]
    assert (seconds[0]["charged"], seconds[2]["completion_tokens"]) == ({"requests": 1}, 9)
    assert [one["permitted"] for one in seconds] == [{"requests": 1.0}] * 3


@pytest.mark.parametrize(
    ("from_s", "until_s", "expected"), [(0, 1, 1), (0, 3, 5), (1, 2, 1), (1.5, 2.5, 2), (4, 9, 0), (2, 4, 3)]
)
def test_permitted_is_the_sum_of_rate_times_time(from_s: float, until_s: float, expected: float) -> None:
    steps = [Step(0, 60), Step(2, 120), Step(2, 180), Step(3, 0)]
    assert permitted(steps, from_s, until_s) == pytest.approx(expected)
