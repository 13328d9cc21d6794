"""The simulator's language model: probabilities that are ones, and the numbers that its corpus gives."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.simulate.ngram import TOKENS, likeliest, logprob, tokenize
from tests.support.likelihood_truth import tokens_of, truth

IDS = {token: number for number, token in enumerate(TOKENS)}


@given(st.text(max_size=40) | st.text(st.sampled_from("the answer is A. yes\n?\u6771"), max_size=60))
def test_tokens_join_to_the_text_and_are_the_longest(text: str) -> None:
    tokens = [TOKENS[one] for one in tokenize(text)]
    assert b"".join(tokens) == text.encode()
    assert tokens == tokens_of(text)


def test_every_token_has_its_own_number() -> None:
    assert len(IDS) == len(TOKENS)


@pytest.mark.parametrize("before", [0, 1, *tokenize("the answer is"), IDS[b"? "]])
def test_probabilities_sum_to_one_and_are_ranked(before: int) -> None:
    assert math.fsum(math.exp(logprob(before, token)) for token in range(len(TOKENS))) == pytest.approx(1)
    ranked = [logprob(before, token) for token in likeliest(before, len(TOKENS))]
    assert ranked == sorted(ranked, reverse=True)
    assert len(ranked) == len(TOKENS)


@given(context=st.sampled_from(["the", "is water", "Q: "]), text=st.text(min_size=1, max_size=20))
def test_likelihoods_are_those_of_the_corpus(context: str, text: str) -> None:
    right = truth(context, text)
    if right is None:
        return
    ids = tokenize(context + text)
    first = len(ids) - len(right.tokens)
    pairs = zip(ids[first - 1 :], ids[first:], strict=False)
    assert math.fsum(logprob(before, token) for before, token in pairs) == pytest.approx(right.loglikelihood, abs=1e-9)
