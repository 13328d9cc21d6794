"""Owns changing rows of a part that is written again: taking some out, giving some new values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet


def partition(
    batch: pa.RecordBatch, gone: AbstractSet[str], gone_choices: AbstractSet[tuple[str, int]] = frozenset()
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return the rows that stay, and those whose key is in `gone` or whose (key, choice) is in `gone_choices`."""
    keys = batch.column("key").to_pylist()
    stays = [key not in gone for key in keys]
    if gone_choices:
        choices = batch.column("choice").to_pylist()
        stays = [
            stay and (key, choice) not in gone_choices for stay, key, choice in zip(stays, keys, choices, strict=True)
        ]
    return split_rows(batch, [not stay for stay in stays])


def split_rows(batch: pa.RecordBatch, goes: Sequence[bool]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return the rows that stay, and those that go."""
    mask = pa.array(goes, type=pa.bool_())
    return batch.filter(pc.invert(mask)), batch.filter(mask)


def replace_values(
    batch: pa.RecordBatch, positions: Sequence[int], values: Mapping[str, Sequence[Any]]
) -> pa.RecordBatch:
    """Return the batch with `values[column][i]` in row `positions[i]`, for each named column."""
    for name, fresh in values.items():
        column = batch.column(name).to_pylist()
        for position, value in zip(positions, fresh, strict=True):
            column[position] = value
        number = batch.schema.get_field_index(name)
        batch = batch.set_column(number, name, pa.array(column, batch.schema.field(name).type))
    return batch
