"""Owns what tokens cost: a model's price, and the price list that is asked where the config states none."""

from runner.prices.price import Price, Tier, price_from_json
from runner.prices.pricelist import Listed, look_up

__all__ = ["Listed", "Price", "Tier", "look_up", "price_from_json"]
