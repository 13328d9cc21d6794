"""Asks the real package, as it is installed; where it is not, the extra `prices` is missing and there is no price."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from runner.prices import Listed, Price, Tier, look_up
from runner.prices.pricelist import price_of_listed

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"
installed = pytest.mark.skipif(find_spec("genai_prices") is None, reason="the extra `prices` is not installed")


def listed(**rates: object) -> SimpleNamespace:
    """Return what stands in the package for a model's prices."""
    return SimpleNamespace(**{"input_mtok": None, "output_mtok": None, "cache_read_mtok": None, **rates})


def tiered(base: str, *tiers: tuple[int, str]) -> SimpleNamespace:
    steps = [SimpleNamespace(start=start, price=Decimal(price)) for start, price in tiers]
    return SimpleNamespace(base=Decimal(base), tiers=steps)


@installed
def test_a_model_is_found_at_its_provider() -> None:
    found = look_up("gpt-4o-mini-2024-07-18", OPENAI, NOW, answers=True)
    assert found is not None
    assert (found.provider, found.model) == ("openai", "gpt-4o-mini")
    assert found.source.startswith("genai-prices ")
    assert 0 < found.price.input < found.price.output
    assert found.price.cached_input is not None


@installed
@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("gpt-4o-mini", "http://127.0.0.1:8000/v1"),  # the same name on a server of one's own costs something else
        ("no such model", OPENAI),
        ("whisper-1", OPENAI),  # by the minute
    ],
)
def test_what_the_list_does_not_price_has_no_price(model: str, url: str) -> None:
    assert look_up(model, url, NOW, answers=True) is None


@installed
def test_a_vector_costs_its_prompt_alone() -> None:
    found = look_up("text-embedding-3-small", OPENAI, NOW, answers=False)
    assert isinstance(found, Listed)
    assert (found.price.output, found.price.input > 0) == (0.0, True)
    assert look_up("text-embedding-3-small", OPENAI, NOW, answers=True) is None


def test_tiers_are_read_by_their_bounds() -> None:
    rates = listed(
        input_mtok=tiered("3", (200, "6"), (400, "9")),
        output_mtok=tiered("15", (200, "22.5")),
        cache_read_mtok=Decimal("0.3"),
    )
    assert price_of_listed(rates) == Price(3.0, 15.0, 0.3, (Tier(200, 6.0, 22.5, 0.3), Tier(400, 9.0, 22.5, 0.3)))


def test_a_model_without_a_price_for_prompts_has_none() -> None:
    assert price_of_listed(listed(output_mtok=Decimal(1))) is None
