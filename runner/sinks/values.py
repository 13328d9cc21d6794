"""Owns reading columns of parts as plain values, a batch at a time, quickly: what scoring and counting start from."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runner.records import STATUSES
from runner.sinks.parts import read_row_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# So much stays in the processor's cache between being read and being scored.
_BATCH_BYTES = 1 << 20
_LEAST_ROWS, _MOST_ROWS = 256, 16_384
_VECTOR = pa.list_(pa.float32())
_STATUS_TEXTS = np.array(STATUSES, dtype=object)


def read_columns(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of a part, about a megabyte at a time, 16,384 rows at most. Raises DamagedError."""
    yield from small_batches(read_row_groups(path, columns))


def small_batches(groups: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield row groups in pieces of about a megabyte, of 16,384 rows at most."""
    for group in groups:
        rows = _BATCH_BYTES * group.num_rows // max(1, group.nbytes)
        rows = min(max(rows, _LEAST_ROWS), _MOST_ROWS)
        for first in range(0, group.num_rows, rows):
            yield group.slice(first, rows)


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


def column_statuses(batch: pa.RecordBatch) -> NDArray[np.int8]:
    """Return the places of the column `status` in STATUSES; no text becomes an object."""
    places = pc.index_in(batch.column("status"), value_set=_statuses())
    numbers: NDArray[np.int8] = places.to_numpy(zero_copy_only=False).astype(np.int8)
    return numbers


@cache
def _statuses() -> pa.Array:
    """Return STATUSES as Arrow has them; not as this is imported, since making an array of a list imports pandas."""
    return pa.array(STATUSES)


def status_texts(statuses: NDArray[np.int8]) -> list[str]:
    """Return statuses as texts, given by their places in STATUSES; those that are equal are one object."""
    texts: list[str] = _STATUS_TEXTS[statuses].tolist()
    return texts


def column_orders(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """Return one number for `repeat` and `choice` of each row: repeat × 2^31 + choice."""
    orders: NDArray[np.int64] = (column_numbers(batch, "repeat") * 2**31 + column_numbers(batch, "choice")).astype(
        np.int64
    )
    return orders


def column_hashes(batch: pa.RecordBatch, names: Sequence[str]) -> NDArray[np.int64]:
    """Return a 64-bit hash of the values of some columns for each row: of one column, or of several together.

    Keyed by process, as Python's hashes of texts are: nobody can make values collide, and no hash may be kept.
    Numbers that are equal have equal hashes, whatever their types; so have all NaN.
    """
    columns = [_hashable(batch.column(name)) for name in names]
    rows = columns[0] if len(columns) == 1 else zip(*columns, strict=True)
    return np.fromiter(map(hash, rows), dtype=np.int64, count=batch.num_rows)


def _hashable(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        # Only NaN is not itself, and each has a hash of its own; -1 has that of -2.
        return ["nan" if value != value else "-1" if value == -1 else value for value in values]  # noqa: PLR0124
    return values


def joined_arrays(pieces: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    """Return arrays, one of each batch, behind one another; an empty one of the kind for none."""
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=kind)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    batches = [batch for batch in batches if batch.num_rows] or batches[:1]
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _vectors(column: pa.ListArray) -> list[Any]:
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    valid = column.is_valid().to_pylist()
    pieces = np.split(numbers, ends[:-1])
    return [piece if one else None for piece, one in zip(pieces, valid, strict=True)]
