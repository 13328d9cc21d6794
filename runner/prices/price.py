"""Owns the price of a model: what an answer cost by its usage, and the most that tokens may cost. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.records import Usage


@dataclass(frozen=True, slots=True)
class Tier:
    """Prices of requests with more than `above` prompt tokens, all of whose tokens cost that much then."""

    above: int
    input: float
    output: float
    cached_input: float | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens; `cached_input` falls back to `input`. `tiers` ascend by `above`."""

    input: float
    output: float
    cached_input: float | None = None
    tiers: tuple[Tier, ...] = ()

    def cost(self, usage: Usage) -> float | None:
        """Return the cost of an answer, null where the server stated no counts."""
        completion = usage.completion_tokens
        if completion is None and usage.prompt_tokens == usage.total_tokens:
            completion = 0  # as of embeddings, whose answers take no tokens
        if usage.prompt_tokens is None or completion is None:
            return None
        price = self._for(usage.prompt_tokens)
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        cached_price = price.input if price.cached_input is None else price.cached_input
        dollars = (usage.prompt_tokens - cached) * price.input + cached * cached_price
        return (dollars + completion * price.output) / 1e6

    def most(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the most that so many tokens may cost: nothing is read from a cache, and the dearest tier holds."""
        dearest_input = max(self.input, *(tier.input for tier in self.tiers)) if self.tiers else self.input
        dearest_output = max(self.output, *(tier.output for tier in self.tiers)) if self.tiers else self.output
        return (prompt_tokens * dearest_input + completion_tokens * dearest_output) / 1e6

    def _for(self, prompt_tokens: int) -> Price | Tier:
        return next((tier for tier in reversed(self.tiers) if prompt_tokens > tier.above), self)


def price_from_json(data: Mapping[str, Any]) -> Price:
    """Read a price that `dataclasses.asdict` wrote, with members of other names beside its own."""
    tiers = tuple(Tier(**tier) for tier in data["tiers"])
    return Price(data["input"], data["output"], data["cached_input"], tiers)
