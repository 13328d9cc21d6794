"""Owns which price a run counts with: the config's, else that of a price list; and that a cost cap has one."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runner.errors import UsageError
from runner.prices import Price, look_up, price_from_json

if TYPE_CHECKING:
    from runner.config import RunConfig
    from runner.folder.manifest import Manifest
    from runner.prices import Listed


def configured_price(config: RunConfig) -> Price | None:
    """Return the price that the config states, null where it is not wholly known."""
    price = config.model.price
    if price is None or price.input_per_million is None:
        return None
    output = price.output_per_million
    if output is None and _is_without_answers(config):
        output = 0.0
    return None if output is None else Price(price.input_per_million, output, price.cached_input_per_million)


def listed_price(config: RunConfig) -> Listed | None:
    """Return what a price list says of the model; null where the config has a price of its own, or none is found."""
    model, url = config.model, config.model.base_url
    if model.price is not None or model.name is None or not url:
        return None
    first = url if isinstance(url, str) else url[0].url
    return look_up(model.name, first, datetime.now(UTC), answers=not _is_without_answers(config))


def refuse_unpriced(config: RunConfig, price: Price | None) -> None:
    """Raise UsageError for a cost cap that nothing can be counted against."""
    if config.budget.max_cost_usd is None or price is not None:
        return
    raise UsageError(
        f"budget.max_cost_usd: no price is known for the model {config.model.name}, so nothing can be kept under a cap",
        hint="state input_per_million and output_per_million under model.price, or cap tokens with budget.max_tokens; "
        "the extra `prices` brings a list of the prices of known providers",
    )


def describe_listed(listed: Listed) -> str:
    """Say where a price comes from and what it is."""
    price = listed.price
    cached = "" if price.cached_input is None else f", {price.cached_input:g} read from a cache"
    beyond = "".join(
        f"; beyond {tier.above:,} prompt tokens {tier.input:g} and {tier.output:g}" for tier in price.tiers
    )
    return (
        f"costs are counted by {listed.source}, {listed.provider}/{listed.model}: {price.input:g} USD a million prompt "
        f"tokens{cached}, {price.output:g} answer tokens{beyond}; model.price overrides it"
    )


def note_price(manifest: Manifest, listed: Listed | None) -> None:
    """Put down in a manifest the price that a list stated, so that what is parsed again later costs the same."""
    manifest.capabilities.pop("price", None)
    if listed is not None:
        names = {"source": listed.source, "provider": listed.provider, "model": listed.model}
        manifest.capabilities["price"] = {**names, **asdict(listed.price)}


def kept_price(manifest: Manifest, config: RunConfig) -> Price | None:
    """Return the price that a run is counted with: the list's as it was then, else the config's."""
    noted: dict[str, Any] | None = manifest.capabilities.get("price")
    return price_from_json(noted) if noted else configured_price(config)


def _is_without_answers(config: RunConfig) -> bool:
    """Say whether answers take no tokens, as vectors do."""
    return config.request.endpoint == "embeddings"
