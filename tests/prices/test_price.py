from __future__ import annotations

from dataclasses import asdict

import pytest

from runner.prices import Price, Tier, price_from_json
from runner.records import Usage

PLAIN = Price(3.0, 15.0, 0.3)
TIERED = Price(3.0, 15.0, 0.3, (Tier(200, 6.0, 22.5, 0.6), Tier(400, 12.0, 30.0)))


@pytest.mark.parametrize(
    ("price", "usage", "dollars"),
    [
        (PLAIN, Usage(100, 10), 450e-6),
        (PLAIN, Usage(100, 10, cached_tokens=40), (60 * 3.0 + 40 * 0.3 + 150) / 1e6),
        (PLAIN, Usage(100, 10, cached_tokens=999), (100 * 0.3 + 150) / 1e6),  # no more can be cached than there was
        (Price(3.0, 15.0), Usage(100, 10, cached_tokens=40), 450e-6),
        (PLAIN, Usage(100, None, 100), 300e-6),  # a vector
        (PLAIN, Usage(100, None), None),
        (PLAIN, Usage(None, 10), None),
        (TIERED, Usage(200, 10), 750e-6),
        (TIERED, Usage(201, 10), (201 * 6.0 + 10 * 22.5) / 1e6),
        (TIERED, Usage(401, 10, cached_tokens=1), (401 * 12.0 + 10 * 30.0) / 1e6),
    ],
)
def test_the_cost_of_an_answer(price: Price, usage: Usage, dollars: float | None) -> None:
    assert price.cost(usage) == (None if dollars is None else pytest.approx(dollars))


@pytest.mark.parametrize(("price", "dollars"), [(PLAIN, 450e-6), (TIERED, 1500e-6)])
def test_the_most_that_tokens_may_cost(price: Price, dollars: float) -> None:
    assert price.most(100, 10) == pytest.approx(dollars)


@pytest.mark.parametrize("price", [PLAIN, TIERED, Price(0.0, 0.0)])
def test_a_price_that_was_put_down_is_read_again(price: Price) -> None:
    assert price_from_json({"source": "a list", **asdict(price)}) == price
