"""Owns the budget's arithmetic: what fits, what is settled, what an earlier session took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.folder.totals import Totals
from runner.pipeline.sending.budget import NOTHING, Amount, Budget, Caps, spent_by
from runner.prices import Price

PRICE = Price(1.0, 2.0)


def proven(caps: Caps, spent: Amount = NOTHING) -> Budget:
    """Return a budget that has seen a first answer, which took nothing."""
    budget = Budget(caps, spent)
    assert budget.take(NOTHING)
    budget.settle(NOTHING, NOTHING, answered=True)
    return budget


def test_without_caps_all_fits_and_nothing_is_counted() -> None:
    budget = Budget()
    assert not budget.capped
    assert all(budget.take(Amount(10**9, 1e6)) for _ in range(3))
    budget.settle(Amount(10**9, 1e6), Amount(7, 0.5), answered=True)
    assert (budget.spent, budget.reserved, budget.under_way) == (NOTHING, NOTHING, 0)


@pytest.mark.parametrize(
    ("caps", "most", "fit"),
    [
        (Caps(tokens=100), Amount(30), 3),
        (Caps(tokens=90), Amount(30), 3),
        (Caps(tokens=89), Amount(30), 2),
        (Caps(usd=1.0), Amount(30, 0.25), 4),
        (Caps(tokens=100, usd=0.5), Amount(30, 0.25), 2),
        (Caps(tokens=50, usd=100.0), Amount(30, 0.25), 1),
    ],
)
def test_what_is_reserved_fits_beside_the_rest(caps: Caps, most: Amount, fit: int) -> None:
    budget = proven(caps)
    assert sum(budget.take(most) for _ in range(10)) == fit


def test_what_was_not_used_can_be_used_by_others() -> None:
    budget = proven(Caps(tokens=100))
    assert budget.take(Amount(60))
    assert not budget.take(Amount(60))
    budget.settle(Amount(60), Amount(40), answered=True)
    assert budget.take(Amount(60))


def test_one_goes_alone_until_it_was_answered() -> None:
    budget = Budget(Caps(tokens=100))
    assert budget.take(Amount(1))
    assert not budget.take(Amount(1))
    budget.settle(Amount(1), NOTHING, answered=False)
    assert budget.take(Amount(1))
    assert not budget.take(Amount(1))
    budget.settle(Amount(1), Amount(1), answered=True)
    assert budget.take(Amount(1))
    assert budget.take(Amount(1))


def test_servers_that_answer_nothing_are_not_asked_one_by_one_for_ever() -> None:
    budget = Budget(Caps(tokens=100))
    for _ in range(8):
        assert budget.take(Amount(1))
        budget.settle(Amount(1), NOTHING, answered=False)
    assert budget.take(Amount(1))
    assert budget.take(Amount(1))


@pytest.mark.parametrize(
    ("caps", "spent", "words", "key"),
    [
        (Caps(tokens=1000), Amount(950), "the budget of 1,000 tokens is used up: 950 are taken", "max_tokens"),
        (Caps(usd=2.5), Amount(950, 2.4), "the budget of $2.5 is used up: $2.400000 is spent", "max_cost_usd"),
        (Caps(tokens=10**6, usd=2.5), Amount(950, 2.4), "the budget of $2.5", "max_cost_usd"),
    ],
)
def test_the_cap_that_was_reached_is_named(caps: Caps, spent: Amount, words: str, key: str) -> None:
    message, named = Budget(caps, spent).describe(Amount(200, 0.2))
    assert message.startswith(words)
    assert named == key


@pytest.mark.parametrize(
    ("totals", "price", "spent"),
    [
        (Totals(), PRICE, NOTHING),
        (
            Totals(prompt_tokens=80, completion_tokens=20, total_tokens=100, cost_usd=1.0),
            PRICE,
            Amount(100, 1.0),
        ),
        # A server that states no total; another that counts more than the two.
        (Totals(prompt_tokens=80, completion_tokens=20), None, Amount(100)),
        (Totals(prompt_tokens=80, completion_tokens=20, total_tokens=130), None, Amount(130)),
        # What may have been billed at a kill or a time-out.
        (Totals(total_tokens=100, cost_usd=1.0, charged_tokens=9, charged_usd=0.5), PRICE, Amount(109, 1.5)),
        # Sessions without a price counted tokens only.
        (Totals(prompt_tokens=2_000_000, completion_tokens=1_000_000, unpriced=3), PRICE, Amount(3_000_000, 4.0)),
        (
            Totals(prompt_tokens=2_000_000, completion_tokens=1_000_000, unpriced=3, charged_tokens=1_000_000),
            PRICE,
            Amount(4_000_000, 7.0),
        ),
    ],
)
def test_what_earlier_sessions_took(totals: Totals, price: Price | None, spent: Amount) -> None:
    found = spent_by(totals, price)
    assert (found.tokens, found.usd) == (spent.tokens, pytest.approx(spent.usd))


_REQUESTS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 100), st.booleans()), max_size=60)


@given(_REQUESTS, st.integers(0, 1000), st.integers(1, 8))
def test_a_cap_holds_in_any_order_of_ends(requests: list[tuple[int, int, bool]], cap: int, slots: int) -> None:
    budget = proven(Caps(tokens=cap))
    under_way: list[tuple[Amount, Amount]] = []
    billed = 0
    for most, share, oldest in requests:
        if budget.take(Amount(most)):
            under_way.append((Amount(most), Amount(most * share // 100)))
        if len(under_way) >= slots:
            reserve, took = under_way.pop(0 if oldest else -1)
            budget.settle(reserve, took, answered=True)
            billed += took.tokens
        assert billed + sum(took.tokens for _, took in under_way) <= cap
    assert budget.spent.tokens == billed
