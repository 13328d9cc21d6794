from __future__ import annotations

from statistics import median

import pytest

from runner.errors import UsageError
from runner.simulate.chance import uniform
from runner.simulate.latency import (
    Fixed,
    Latency,
    Load,
    Lognormal,
    Pareto,
    Uniform,
    distribution_from_text,
    latency_s,
)


def seconds(latency: Latency, *, seed: int = 0, in_flight: int = 1) -> list[float]:
    return [latency_s(latency, seed, Load(number, 10, in_flight)) for number in range(1, 1001)]


def test_first_token_and_per_token_add_up() -> None:
    assert latency_s(Latency(Fixed(0.5), Fixed(0.01)), 0, Load(1, 20, 1)) == pytest.approx(0.7)


def test_uniform_stays_between_its_ends_and_fills_them() -> None:
    drawn = seconds(Latency(Uniform(0.1, 0.5)))
    assert 0.1 <= min(drawn) < 0.12
    assert 0.48 < max(drawn) <= 0.5


def test_lognormal_has_its_median_and_a_tail() -> None:
    drawn = seconds(Latency(Lognormal(0.8, 1.0)))
    assert median(drawn) == pytest.approx(0.8, rel=0.1)
    assert max(drawn) > 8


def test_draws_belong_to_the_arrival_number_and_the_seed() -> None:
    latency = Latency(Uniform(0, 1))
    assert seconds(latency) == seconds(latency)
    assert seconds(latency) != seconds(latency, seed=1)


def test_pareto_has_its_least_and_a_tail_that_hardly_ends() -> None:
    drawn = seconds(Latency(Pareto(0.3, 1.5)))
    assert min(drawn) == pytest.approx(0.3, rel=0.01)
    assert median(drawn) == pytest.approx(0.3 * 2 ** (1 / 1.5), rel=0.1)
    assert max(drawn) > 10


def test_a_crowd_slows_everyone_and_less_is_served() -> None:
    latency = Latency(Fixed(1.0), slow_above=10)
    served = [count / seconds(latency, in_flight=count)[0] for count in (1, 10, 20, 40)]
    assert served == pytest.approx([1, 10, 9.33, 8.71], rel=0.001)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", Fixed(0)),
        ("0.2", Fixed(0.2)),
        ("0.1..0.5", Uniform(0.1, 0.5)),
        ("lognormal:0.8,0.5", Lognormal(0.8, 0.5)),
        ("pareto:0.3,1.5", Pareto(0.3, 1.5)),
    ],
)
def test_texts_are_read(text: str, expected: object) -> None:
    assert distribution_from_text(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "fast", "-1", "nan", "inf", "0.5..0.1", "lognormal:1", "lognormal:0,1", "pareto:0,1", "pareto:1,0", "1..2..3"],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        distribution_from_text(text)


def test_chance_is_even_and_separate_for_labels() -> None:
    drawn = [uniform("a", 0, number) for number in range(2000)]
    assert all(0 <= value < 1 for value in drawn)
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.02)
    assert drawn[:10] != [uniform("b", 0, number) for number in range(10)]
