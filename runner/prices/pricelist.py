"""Owns asking a price list: the package genai-prices (extra `prices`), offline, as it was installed.

The one module that knows the package. A model is priced only at a provider that the package knows by `model.base_url`:
the same model on a server of your own costs something else. A price changes by the time of day at some providers; the
one that holds when a session begins holds for the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from runner.prices.price import Price, Tier

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """A price that a list states: which list, in which version, and by what names it knows the model."""

    price: Price
    source: str
    provider: str
    model: str


def look_up(model: str, base_url: str, now: datetime, *, answers: bool) -> Listed | None:
    """Return what the price list says of a model, null where it says nothing or is not installed.

    `answers`: the model's answers take tokens, as all but vectors do, so that a price for them is needed.
    """
    if find_spec("genai_prices") is None:
        return None
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - loads 1.6 MB of prices, and is an extra

    try:
        found = calc_price(Usage(input_tokens=1), model, provider_api_url=base_url, genai_request_timestamp=now)
    except LookupError:
        return None
    price = price_of_listed(found.model_price)
    if price is None or (answers and found.model_price.output_mtok is None):
        return None
    return Listed(price, f"genai-prices {version('genai-prices')}", found.provider.id, found.model.id)


def price_of_listed(listed: Any) -> Price | None:
    """Return a `ModelPrice` of the package as our own, null where it has none for prompts; answers may cost nothing."""
    rates = (listed.input_mtok, listed.output_mtok, listed.cache_read_mtok)
    if rates[0] is None:
        return None
    bounds = sorted({tier.start for rate in rates for tier in getattr(rate, "tiers", ())})
    tiers = tuple(Tier(above, *_rates_at(rates, above + 1)) for above in bounds)
    return Price(*_rates_at(rates, 0), tiers)


def _rates_at(rates: tuple[Any, ...], prompt_tokens: int) -> tuple[float, float, float | None]:
    prompt, answer, cached = (_rate_at(rate, prompt_tokens) for rate in rates)
    return prompt or 0.0, answer or 0.0, cached


def _rate_at(rate: Any, prompt_tokens: int) -> float | None:
    """Return what a `Decimal` or a `TieredPrices` says for a prompt of so many tokens."""
    if rate is None:
        return None
    in_force = getattr(rate, "base", rate)
    for tier in getattr(rate, "tiers", ()):  # they ascend
        if prompt_tokens > tier.start:
            in_force = tier.price
    return float(in_force)
