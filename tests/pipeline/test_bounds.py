"""Owns what a request may take at most, what is learnt of it, and what an attempt took that ended so or so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner.errors import (
    AuthError,
    BadRequestError,
    ConnectError,
    DisconnectError,
    NoChoicesError,
    OverloadError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    StaleConnectionError,
)
from runner.pipeline.sending.bounds import Bound, Bounds, amount_taken, counted, may_be_billed
from runner.pipeline.sending.budget import Amount
from runner.prices import Price
from runner.records import Case, Request, Usage

if TYPE_CHECKING:
    from runner.errors import (
        RequestError,
    )

PRICE = Price(10.0, 100.0, 1.0)
CASE = Case(bytes(16), "s", 0, bytes(16), 0, None, b"{}")


def asking(prompt: int, answer: int, *, choices: int = 1, cases: int = 1, unbounded: bool = False) -> Request:
    """Return a request whose estimate is so many tokens of prompt, and so many for all answers."""
    return Request(
        bytes(16), "/x", b"", (CASE,) * cases, choices, prompt + answer, answer_tokens=answer, unbounded=unbounded
    )


def test_a_prompt_is_bounded_by_its_bytes_and_an_answer_by_what_is_allowed() -> None:
    # The estimate is bytes // 4: up to three bytes are lost in it.
    assert Bounds(None).of(asking(25, 64)) == Bound(104, 64)


def test_what_a_server_adds_to_prompts_is_added_to_all() -> None:
    bounds, request = Bounds(None), asking(25, 64)
    bounds.learn(request, Usage(90, 10, 100))
    assert bounds.of(request) == Bound(104, 64)
    for _ in range(3):  # answers that were under way together teach it once
        bounds.learn(request, Usage(1104, 10, 1114))
    assert bounds.of(request) == Bound(1104, 64)
    assert bounds.of(asking(0, 8)) == Bound(1004, 8)


def test_a_server_that_does_not_keep_to_the_longest_answer_is_expected_to_do_so_again() -> None:
    bounds = Bounds(None)
    bounds.learn(asking(25, 10), Usage(25, 25, 50))
    assert bounds.of(asking(25, 100)).answer == 250


@pytest.mark.parametrize(("choices", "cases"), [(1, 1), (3, 1), (1, 4), (2, 5)])
def test_answers_of_any_length_are_expected_by_those_before(choices: int, cases: int) -> None:
    bounds, request = Bounds(None), asking(25, 256, choices=choices, cases=cases, unbounded=True)
    assert bounds.of(request).answer == 1024 * choices * cases
    bounds.learn(request, Usage(25, 30 * choices * cases, None))
    assert bounds.of(request).answer == 60 * choices * cases
    bounds.learn(request, Usage(25, 10 * choices * cases, None))
    assert bounds.of(request).answer == 60 * choices * cases


def test_a_likelihood_is_all_prompt_and_a_token_for_each_continuation() -> None:
    assert Bounds(None, likelihoods=True).of(asking(0, 40, choices=4)) == Bound(160, 4)


def test_a_bound_costs_the_most() -> None:
    assert Bounds(PRICE).amount_of(Bound(100, 10)) == Amount(110, 0.002)
    assert Bounds(None).amount_of(Bound(100, 10)) == Amount(110, 0.0)


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        (Usage(50, 5, 55), Amount(55, 0.001)),
        (Usage(50, 5, 55, cached_tokens=50), Amount(55, 0.00055)),
        (Usage(50, 5, 70), Amount(70, 0.001)),
        (Usage(50, None, 55), Amount(55, 0.001)),
        (Usage(50, None, 50), Amount(50, 0.0005)),
        (Usage(None, 5, 55), Amount(55, 0.001)),
        (Usage(50, None), Amount(60, 0.0015)),
        (Usage(None, 5), Amount(105, 0.0015)),
        (Usage(), Amount(110, 0.002)),
    ],
)
def test_what_usage_leaves_out_is_charged_as_reserved(usage: Usage, amount: Amount) -> None:
    found = amount_taken(Bound(100, 10), usage, PRICE)
    assert (found.tokens, found.usd) == (amount.tokens, pytest.approx(amount.usd))
    assert amount_taken(Bound(100, 10), usage, None) == Amount(amount.tokens)


@pytest.mark.parametrize(
    ("error", "status", "billed"),
    [
        (None, 200, True),
        (RequestTimeoutError("late"), None, True),
        (DisconnectError("cut"), None, True),
        (NoChoicesError("none"), 200, True),
        (ServerError("an error in a success"), 200, True),
        (ServerError("gateway"), 504, True),
        (ServerError("gateway"), 524, True),
        (ServerError("broke"), 500, False),
        (StaleConnectionError("closed"), None, False),
        (ConnectError("refused"), None, False),
        (RateLimitError("slow down"), 429, False),
        (RateLimitError("slow down"), 200, False),
        (OverloadError("full"), 503, False),
        (BadRequestError("no"), 400, False),
        (AuthError("no"), 401, False),
    ],
)
def test_what_may_be_billed_without_usage(error: RequestError | None, status: int | None, *, billed: bool) -> None:
    assert may_be_billed(error, status) is billed


def test_what_totals_count_by_themselves() -> None:
    assert counted(Usage(50, 5, 70), PRICE) == Amount(70, pytest.approx(0.001))
    assert counted(Usage(50, None), PRICE) == Amount(50, 0.0)
    assert counted(Usage(), None) == Amount()
