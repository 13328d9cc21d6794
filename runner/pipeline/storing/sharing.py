"""Owns sharing what one request used over the samples in it: whole numbers that sum to exactly what is shared. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_INT64 = 2**63 - 1


def share(total: int, weights: Sequence[int]) -> list[int]:
    """Share a count by weights, by the largest remainder; of equal remainders the first is served first.

    All get the same share where no weight is above 0.
    """
    whole = sum(weights)
    if whole <= 0:
        weights, whole = [1] * len(weights), len(weights)
    if total * max(weights) <= _INT64:
        shares, rests = np.divmod(np.array(weights, dtype=np.int64) * total, whole)
        left = total - int(shares.sum())
        if left:
            shares[np.argsort(-rests, kind="stable")[:left]] += 1
        exact: list[int] = shares.tolist()
        return exact
    pairs = [divmod(weight * total, whole) for weight in weights]
    large = [pair[0] for pair in pairs]
    left = total - sum(large)
    for position in sorted(range(len(pairs)), key=lambda place: -pairs[place][1])[:left]:
        large[position] += 1
    return large


def share_amount(total: float, weights: Sequence[int]) -> list[float]:
    """Share an amount of money by weights."""
    whole = sum(weights)
    if whole <= 0:
        return [total / len(weights)] * len(weights)
    return [total * weight / whole for weight in weights]
