"""Owns picking rows of a part, by a value or by their places: what is not wanted never becomes an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from runner.sinks.parts import read_row_groups

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def rows_where(path: Path, column: str, values: Collection[str], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the place in the part and some columns of each row that has one of the values. Raises DamagedError."""
    wanted = pa.array(sorted(values), type=pa.string())
    before = 0
    for batch in read_row_groups(path, list(dict.fromkeys((column, *columns)))):
        chosen = pc.is_in(batch.column(column), value_set=wanted)
        places = [before + place for place in pc.indices_nonzero(chosen).to_pylist()]
        rows = batch.filter(chosen)
        yield from zip(places, *(rows.column(name).to_pylist() for name in columns), strict=True)
        before += batch.num_rows


def rows_of(
    groups: Iterable[tuple[int, pa.RecordBatch]], wanted: NDArray[np.int64], columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Yield some columns of the rows at `wanted` places, in order, of row groups with the place of their first row."""
    for first, group in groups:
        own = wanted[(wanted >= first) & (wanted < first + group.num_rows)] - first
        rows = group.take(pa.array(own, type=pa.int64()))
        yield from zip(*(rows.column(name).to_pylist() for name in columns), strict=True)
