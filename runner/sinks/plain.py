"""Owns rows of parts as values that JSON has: vectors as NumPy arrays, bytes as lists of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from runner.sinks.beside import PLACE, scores_beside
from runner.sinks.parts import naming_damage, row_groups
from runner.sinks.snapshot import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.sinks.snapshot import PartFile, Snapshot

# Rows become Python objects so many at a time.
_BATCH_ROWS = 1_024


def column_names(snapshot: Snapshot) -> list[str]:
    """Return the columns of responses, then those of their scores."""
    own = snapshot.schema("responses").names
    return [*own, *(name for name in snapshot.schema(SCORES).names if name not in PLACE)]


def scored_rows(snapshot: Snapshot, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    """Yield columns of responses and scores of a run, some rows at a time, as plain values. Raises DamagedError."""
    own = [name for name in columns if name in snapshot.schema("responses").names]
    scored = [name for name in columns if name not in own]
    for name, part in snapshot.tables["responses"].items():
        with naming_damage(part.path):
            for batch in _part_rows(part, snapshot.tables[SCORES].get(name), own, scored):
                for first in range(0, batch.num_rows, _BATCH_ROWS):
                    piece = batch.slice(first, _BATCH_ROWS)
                    yield {column: plain_values(piece.column(column)) for column in columns}


def _part_rows(
    part: PartFile, scores: PartFile | None, own: Sequence[str], scored: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    needed = dict.fromkeys([*own, *(PLACE if scored else ())])
    table = scores.parquet(checked=True).read([*PLACE, *scored]) if scores is not None and scored else None
    first = 0
    for batch in row_groups(part.parquet(checked=True), list(needed)):
        rows, last = pa.Table.from_batches([batch]), first + batch.num_rows
        if table is not None:
            beside = scores_beside(rows, table, slice(first, last))
            rows = pa.table({**{name: rows[name] for name in own}, **{name: beside[name] for name in scored}})
        else:
            for name in scored:
                rows = rows.append_column(name, pa.nulls(rows.num_rows))
        first = last
        yield from rows.combine_chunks().to_batches()


def plain_values(column: pa.Array) -> list[Any]:
    """Return a column as values that JSON has; float32 as NumPy arrays, which are written with few digits."""
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [None if value is None else list(value) for value in column.to_pylist()]
    if not pa.types.is_list(kind):
        values: list[Any] = column.to_pylist()
        return values
    inner = column.flatten()
    items: Any = inner.to_numpy(zero_copy_only=False) if pa.types.is_float32(kind.value_type) else plain_values(inner)
    lists, first = [], 0
    for length in column.value_lengths().to_pylist():
        last = first + (length or 0)
        lists.append(None if length is None else items[first:last])
        first = last
    return lists
