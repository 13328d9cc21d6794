"""Owns reading columns of parts as plain values, a batch at a time, quickly: what scoring and counting start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from runner.sinks.parts import read_row_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# So many answers of a few hundred characters stay in the processor's cache between being read and being scored.
_BATCH_ROWS = 2_048
_VECTOR = pa.list_(pa.float32())


def read_columns(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of a part, at most 2,048 rows at a time. Raises DamagedError."""
    for group in read_row_groups(path, columns):
        for first in range(0, group.num_rows, _BATCH_ROWS):
            yield group.slice(first, _BATCH_ROWS)


def read_whole_keys(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of a part, `key` among them, so that rows of one key which follow each other stay together."""
    held: list[pa.RecordBatch] = []
    for batch in read_columns(path, columns):
        keys = batch.column("key")
        last = keys[len(keys) - 1]
        begins = len(keys)
        while begins and keys[begins - 1] == last:
            begins -= 1
        if begins or (held and held[-1].column("key")[0] != last):
            yield _joined([*held, batch.slice(0, begins)])
            held = []
        held.append(batch.slice(begins))
    if held:
        yield _joined(held)


def column_values(batch: pa.RecordBatch, name: str) -> list[Any]:
    """Return a column as Python values, null as None; vectors as float32 arrays, where null is NaN."""
    column = batch.column(name)
    values: list[Any] = _vectors(column) if column.type == _VECTOR and name == "embedding" else column.to_pylist()
    return values


def column_numbers(batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    """Return a column of numbers as float64, null as NaN."""
    numbers: NDArray[np.float64] = batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def column_times(batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    """Return a column of times as seconds since 1970 UTC, null as NaN."""
    microseconds = batch.column(name).cast(pa.int64()).cast(pa.float64())
    seconds: NDArray[np.float64] = microseconds.to_numpy(zero_copy_only=False) / 1e6
    return seconds


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    batches = [batch for batch in batches if batch.num_rows] or batches[:1]
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _vectors(column: pa.ListArray) -> list[Any]:
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    valid = column.is_valid().to_pylist()
    pieces = np.split(numbers, ends[:-1])
    return [piece if one else None for piece, one in zip(pieces, valid, strict=True)]
