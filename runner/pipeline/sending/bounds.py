"""Owns the most that a request may take of a budget, and what it took. Pure; it learns from usage.

- *Prompt*: a token is a byte at least, so a prompt is bounded by its bytes. A server may add to it (a template,
  documents that it looks up): the most that was added so far is added to all.
- *Answer*: what the request allows, for each choice. Where it allows any length, twice the longest choice so far. A
  server that gave more than was allowed is expected to do so again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.errors import (
    BodyTooLargeError,
    CancelledError,
    DisconnectError,
    InvalidResponseError,
    MissingChoiceError,
    NoChoicesError,
    ParseError,
    RequestTimeoutError,
    ServerError,
)
from runner.pipeline.requests.learnt import Learnt
from runner.pipeline.sending.budget import Amount
from runner.records import value

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.prices import Price
    from runner.records import Request, Usage

_BYTES_PER_ESTIMATED_TOKEN = 4
# What a choice of any length is expected to take before any has come.
_FIRST_ANSWER = 1024
_LONGER = 2
# The server may have worked, and billed, though no usage came.
_PERHAPS_BILLED = (
    RequestTimeoutError,
    DisconnectError,
    CancelledError,
    InvalidResponseError,
    BodyTooLargeError,
    NoChoicesError,
    MissingChoiceError,
    ParseError,
)
# Gateways that gave up waiting for the server behind them.
_GATEWAY_TIMEOUTS = frozenset({408, 504, 524})
_OK, _MULTIPLE_CHOICES = 200, 300


@value
class Bound:
    """The most tokens that a request may take, of prompt and answer."""

    prompt: int
    answer: int


@value
class Reserve:
    """What is reserved for an attempt: the most that it may take, in tokens of prompt and answer, and as an amount."""

    bound: Bound
    most: Amount


@dataclass(slots=True)
class Bounds:
    """Bounds of requests at a price, null where it is unknown. `likelihoods`: requests measure what they hold."""

    price: Price | None
    likelihoods: bool = False
    learnt: Learnt = field(default_factory=Learnt)
    _added: int = 0
    _longest: int | None = None
    _beyond: float = 1.0

    def of(self, request: Request) -> Bound:
        """Return the most that a request may take by what is known now."""
        prompt, answer = self._plain(request)
        return Bound(prompt + self._added, math.ceil(answer * self._beyond))

    def amount_of(self, bound: Bound) -> Amount:
        """Return a bound as an amount of a budget."""
        return Amount(bound.prompt + bound.answer, self.price.most(bound.prompt, bound.answer) if self.price else 0.0)

    def learn(self, request: Request, usage: Usage) -> None:
        """Learn from what a request took."""
        self.learnt.note(request, usage)
        (prompt, allowed), answer = self._plain(request), usage.completion_tokens
        self._added = max(self._added, (usage.prompt_tokens or 0) - prompt)
        if answer is None:
            return
        self._longest = max(self._longest or 0, -(-answer // _choices(request)))
        if not _is_unbounded(request) and allowed > 0:
            self._beyond = max(self._beyond, answer / allowed)

    def _plain(self, request: Request) -> tuple[int, int]:
        """Return what is to be expected, prompt and answer, of a server that adds nothing and does as it is asked."""
        if self.likelihoods:  # all that it holds is prompt, and a token is generated for each continuation
            return _BYTES_PER_ESTIMATED_TOKEN * request.reserve_tokens, max(1, request.choices)
        estimate = request.reserve_tokens - request.answer_tokens
        return _BYTES_PER_ESTIMATED_TOKEN * (estimate + 1), self._answer_of(request)

    def _answer_of(self, request: Request) -> int:
        if not _is_unbounded(request):
            return request.answer_tokens
        one = _FIRST_ANSWER if self._longest is None else max(1, _LONGER * self._longest)
        return one * _choices(request)


def amount_taken(bound: Bound, usage: Usage, price: Price | None) -> Amount:
    """Return what a billed request took: by its usage, and as much as it was allowed where that says nothing."""
    prompt, answer, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
    if answer is None:
        answer = max(0, total - prompt) if total is not None and prompt is not None else bound.answer
    if prompt is None:
        prompt = max(0, total - answer) if total is not None else bound.prompt
    cost = price.cost(usage) if price else 0.0
    if cost is None and price is not None:
        cost = price.most(prompt, answer)
    return Amount(max(total or 0, prompt + answer), cost or 0.0)


def says_all(usage: Usage, price: Price | None) -> bool:
    """Say whether an answer's usage alone tells what it took: `amount_taken` is then what is `counted`."""
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return False
    return price is None or price.cost(usage) is not None


def may_be_billed(error: RequestError | None, http_status: int | None) -> bool:
    """Say whether a request that ended so, without usage, may have been billed all the same; null: it was answered.

    A refusal is not billed, and neither is an error of the server itself, unless its answer had begun as a success.
    """
    if error is None or isinstance(error, _PERHAPS_BILLED):
        return True
    if http_status in _GATEWAY_TIMEOUTS:
        return True
    return isinstance(error, ServerError) and http_status is not None and _OK <= http_status < _MULTIPLE_CHOICES


def counted(usage: Usage, price: Price | None) -> Amount:
    """Return what a run's totals count of an answer's usage by themselves."""
    tokens = max(usage.total_tokens or 0, (usage.prompt_tokens or 0) + (usage.completion_tokens or 0))
    return Amount(tokens, (price.cost(usage) or 0.0) if price else 0.0)


def _is_unbounded(request: Request) -> bool:
    return request.unbounded or request.answer_tokens < 0


def _choices(request: Request) -> int:
    return max(1, request.choices) * max(1, len(request.cases))
