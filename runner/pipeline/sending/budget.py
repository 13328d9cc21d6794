"""Owns a run's budget of tokens and dollars: what is spent, what is reserved for requests under way, what fits. Pure.

A request is admitted when the most that it may take still fits beside what was spent and what is reserved; its end
settles that with what it took. So the caps hold whatever number of requests is under way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.records import value

if TYPE_CHECKING:
    from runner.folder.totals import Totals
    from runner.prices import Price


@value
class Amount:
    """Tokens, of prompt and answer together, and US dollars; without a price the dollars are 0."""

    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.tokens - other.tokens, self.usd - other.usd)


NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that a run may take over all attempts of all its sessions; null is no cap."""

    tokens: int | None = None
    usd: float | None = None

    def hold(self, amount: Amount) -> bool:
        """Say whether an amount lies within the caps."""
        return (self.tokens is None or amount.tokens <= self.tokens) and (self.usd is None or amount.usd <= self.usd)


@dataclass(slots=True)
class Budget:
    """What a run may still take; without caps, nothing is counted. `spent` begins with what earlier sessions took.

    Until a first answer has told what a request really takes (a template of the server's, documents that it looks up),
    one is under way at a time; after a few that ended otherwise, that is not waited for any longer.
    """

    caps: Caps = field(default_factory=Caps)
    spent: Amount = NOTHING
    reserved: Amount = NOTHING
    under_way: int = 0
    capped: bool = field(init=False)
    _trials_left: int = field(default=8)

    def __post_init__(self) -> None:
        """Note whether there is any cap: each request asks."""
        self.capped = self.caps != _NO_CAPS

    def take(self, most: Amount) -> bool:
        """Reserve what a request may take at most; say whether it fits."""
        if not self.capped:
            return True
        if (self._trials_left and self.under_way) or not self.fits(most):
            return False
        self.reserved += most
        self.under_way += 1
        return True

    def fits(self, most: Amount) -> bool:
        """Say whether an amount fits beside what was spent and what is reserved."""
        return self.caps.hold(self.spent + self.reserved + most)

    def settle(self, most: Amount, took: Amount, *, answered: bool) -> None:
        """Replace what was reserved for a request by what it took."""
        if not self.capped:
            return
        self.spent += took
        self.under_way -= 1
        # Sums of fractions drift; with nothing under way nothing is reserved.
        self.reserved = self.reserved - most if self.under_way else NOTHING
        if self._trials_left:
            self._trials_left = 0 if answered else self._trials_left - 1

    def describe(self, most: Amount) -> tuple[str, str]:
        """Say why a request that may take so much is not sent, and which config key caps it."""
        caps, spent = self.caps, self.spent
        if caps.tokens is not None and spent.tokens + most.tokens > caps.tokens:
            left = f"{spent.tokens:,} are taken, and the next request may take {most.tokens:,}"
            return f"the budget of {caps.tokens:,} tokens is used up: {left}", "max_tokens"
        left = f"${spent.usd:,.6f} is spent, and the next request may cost ${most.usd:,.6f}"
        return f"the budget of ${caps.usd or 0.0:,.6g} is used up: {left}", "max_cost_usd"


def spent_by(totals: Totals, price: Price | None) -> Amount:
    """Return what a run's sessions took so far, by the totals of its commits.

    Sessions without a price have counted tokens only: those are taken at their dearest.
    """
    counted = max(totals.total_tokens, totals.prompt_tokens + totals.completion_tokens)
    dollars = totals.cost_usd + totals.charged_usd
    if price is not None and totals.unpriced:
        dearest = price.most(totals.prompt_tokens, totals.completion_tokens)
        if not totals.charged_usd:
            dearest += price.most(totals.charged_tokens, totals.charged_tokens)
        dollars = max(dollars, dearest)
    return Amount(counted + totals.charged_tokens, dollars)


_NO_CAPS = Caps()
