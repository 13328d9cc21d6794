"""Owns the figures of scores and of their differences between two runs. Pure functions of NumPy arrays.

Rows of one sample (repeats, choices) are no independent observations: intervals resample samples, not rows.
"""

from __future__ import annotations

from runner.statistics.means import (
    LEVEL,
    RESAMPLES,
    Clusters,
    Interval,
    clustered,
    interval,
    majority_scores,
    numbered,
    pass_at_k,
)
from runner.statistics.paired import (
    Estimate,
    Verdict,
    amount_difference,
    binary_difference,
    judge,
    mcnemar,
    mean_difference,
    paired_difference,
)

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Clusters",
    "Estimate",
    "Interval",
    "Verdict",
    "amount_difference",
    "binary_difference",
    "clustered",
    "interval",
    "judge",
    "majority_scores",
    "mcnemar",
    "mean_difference",
    "numbered",
    "paired_difference",
    "pass_at_k",
]
