"""Owns choosing a random subset: with a seed and a limit, which rows of the dataset belong to the run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from runner.pipeline.passes.rowindex import RowIndex

if TYPE_CHECKING:
    from runner.pipeline.passes.scan import Scan

# SplitMix64's multipliers: they spread a seed and a digest over all 64 bits.
_SPREAD = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def take_subset(scan: Scan, seed: int, limit: int) -> Scan:
    """Return the scan reduced to `limit` rows. They are drawn by content, so that another order draws the same rows."""
    index = scan.index
    if len(index.rows) <= limit:
        return scan
    ranks = (index.high ^ np.uint64(seed * _SPREAD % 2**64)) * _MIX
    keep = np.zeros(len(ranks), dtype=bool)
    keep[np.argsort(ranks, kind="stable")[:limit]] = True
    reduced = RowIndex(
        index.high[keep],
        index.low[keep],
        index.carry[keep],
        index.rows[keep],
        index.rows_total,
        index.repeated_rows,
        index.occurrences,
    )
    return replace(scan, index=reduced, samples=limit)
