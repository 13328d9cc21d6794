"""Owns the memory of a dataset: 24 bytes a row (digest, checksum, position) that say what is done, gone or changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runner.pipeline.requests.fingerprint import occurrence_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RECORD = np.dtype([("high", ">u8"), ("low", ">u8"), ("carry", "<u4")])
# The digest of a row that is not part of the run (beyond the limit); no real digest is zero.
NO_ROW = bytes(RECORD.itemsize)


@dataclass(frozen=True, slots=True)
class RowIndex:
    """Row digests in sorted order. `rows` gives the row number at each position; `rows_total` counts all numbers.

    `repeated_rows` and `occurrences` list the rows whose content stands in the dataset before, where rows have no id.
    """

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    carry: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    rows_total: int
    repeated_rows: NDArray[np.uint32]
    occurrences: NDArray[np.uint32]

    def find(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the position of each digest, -1 where the dataset has no such row."""
        if not len(self.high):
            return np.full(len(high), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.high, high), len(self.high) - 1)
        # Two digests may share their first half, though a million rows do so with a chance of 1 in 30 million.
        found = np.where((self.high[at] == high) & (self.low[at] == low), at, -1)
        for position in np.flatnonzero((self.high[at] == high) & (found < 0)):
            start = int(at[position])
            end = int(np.searchsorted(self.high, high[position], side="right"))
            same = np.flatnonzero(self.low[start:end] == low[position])
            found[position] = start + int(same[0]) if len(same) else -1
        return found

    def occurrence(self, row: int) -> int:
        """Return how many rows before this one have the same content; 0 where rows have ids."""
        if not len(self.repeated_rows):
            return 0
        at = int(np.searchsorted(self.repeated_rows, row))
        return int(self.occurrences[at]) if at < len(self.repeated_rows) and self.repeated_rows[at] == row else 0

    def occurrences_of(self, rows: Sequence[int]) -> list[int] | None:
        """Return `occurrence` of some rows in ascending order; null where it is 0 for all of them."""
        repeated = self.repeated_rows
        if not len(repeated) or not len(rows):
            return None
        start, end = np.searchsorted(repeated, [rows[0], rows[-1] + 1])
        return [self.occurrence(row) for row in rows] if start < end else None


def build_row_index(records: bytearray, *, count_occurrences: bool) -> RowIndex:
    """Sort the rows' records (`RECORD`, by row number) into an index; `records` is cleared to free its memory."""
    table = np.frombuffer(records or bytes(records), dtype=RECORD)
    total = len(table)
    high = table["high"].astype(np.uint64)
    low = table["low"].astype(np.uint64)
    carry = table["carry"].copy()
    del table
    records.clear()
    order = _order(high, low)
    present = order[(high[order] != 0) | (low[order] != 0)]
    repeated, occurrences = _EMPTY, _EMPTY
    if count_occurrences:
        repeated, occurrences = _count_occurrences(high, low, present)
        if len(repeated):
            _mark_occurrences(high, low, repeated, occurrences)
            order = _order(high, low)
            present = order[(high[order] != 0) | (low[order] != 0)]
    return RowIndex(high[present], low[present], carry[present], present, total, repeated, occurrences)


def extend_row_index(index: RowIndex, records: bytearray) -> RowIndex:
    """Return the index with more rows behind the others, as records of `RECORD`; rows with ids only."""
    table = np.frombuffer(records, dtype=RECORD)
    high = np.concatenate([index.high, table["high"].astype(np.uint64)])
    low = np.concatenate([index.low, table["low"].astype(np.uint64)])
    carry = np.concatenate([index.carry, table["carry"]])
    fresh = np.arange(index.rows_total, index.rows_total + len(table), dtype=np.uint32)
    rows = np.concatenate([index.rows, fresh])
    order = _order(high, low)
    return RowIndex(high[order], low[order], carry[order], rows[order], index.rows_total + len(table), _EMPTY, _EMPTY)


_EMPTY = np.empty(0, dtype=np.uint32)


def _order(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Return the rows in the order of their digests, equal ones in row order."""
    order = np.argsort(high, kind="stable")
    ordered = high[order]
    if (ordered[1:] == ordered[:-1]).any():  # only equal upper halves make the lower ones matter
        order = np.lexsort((low, high))
    return order.astype(np.uint32)


def _count_occurrences(
    high: NDArray[np.uint64], low: NDArray[np.uint64], order: NDArray[np.uint32]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Count equal digests in row order; the sort is stable, so the first of a group comes first in the dataset."""
    if not len(order):
        return _EMPTY, _EMPTY
    sorted_high, sorted_low = high[order], low[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (sorted_high[1:] != sorted_high[:-1]) | (sorted_low[1:] != sorted_low[:-1])
    starts = np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))
    number = (np.arange(len(order)) - starts).astype(np.uint32)
    again = ~fresh
    rows = order[again]
    by_row = np.argsort(rows)
    return rows[by_row], number[again][by_row]


def _mark_occurrences(
    high: NDArray[np.uint64], low: NDArray[np.uint64], rows: NDArray[np.uint32], numbers: NDArray[np.uint32]
) -> None:
    for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
        own = int(high[row]).to_bytes(8, "big") + int(low[row]).to_bytes(8, "big")
        marked = occurrence_digest(own, number)
        high[row] = int.from_bytes(marked[:8], "big")
        low[row] = int.from_bytes(marked[8:], "big")
