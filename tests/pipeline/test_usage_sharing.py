"""Sharing: whole numbers that sum to exactly what was used."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from runner.pipeline.storing.sharing import share, share_amount

WEIGHTS = st.lists(st.integers(0, 2**40), min_size=1, max_size=60)


@given(st.integers(0, 2**63 - 1), WEIGHTS)
def test_shares_sum_to_the_whole_and_each_is_its_own_rounded(total: int, weights: list[int]) -> None:
    shares = share(total, weights)
    assert sum(shares) == total
    whole = sum(weights)
    for weight, own in zip(weights, shares, strict=True):
        exact, most = divmod(total * weight, whole) if whole else divmod(total, len(weights))
        assert exact <= own <= exact + (most > 0)


@given(st.integers(0, 10**6), WEIGHTS)
def test_more_weight_never_gets_less(total: int, weights: list[int]) -> None:
    shares = share(total, weights)
    for weight, own in zip(weights, shares, strict=True):
        for other_weight, other in zip(weights, shares, strict=True):
            assert own <= other + 1 or weight > other_weight


def test_the_largest_remainders_come_first() -> None:
    assert share(10, [1, 1, 1]) == [4, 3, 3]
    assert share(7, [5, 3, 2]) == [4, 2, 1]
    assert share(1, [0, 0, 0]) == [1, 0, 0]
    assert share(0, [3, 4]) == [0, 0]
    assert share(5, [0, 1]) == [0, 5]


@given(st.floats(0, 1e6), WEIGHTS)
def test_amounts_sum_as_floats_do(total: float, weights: list[int]) -> None:
    assert math.isclose(math.fsum(share_amount(total, weights)), total, rel_tol=1e-12, abs_tol=1e-300)
