"""Owns columns of all rows of a run as arrays, and rows by their places: what comparing two runs starts from.

A row's place is its number among all rows of `responses`, parts in the order of their names. Texts become objects for
about a megabyte at a time; what stays is an array.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from runner.sinks.beside import PLACE, scores_beside
from runner.sinks.parts import naming_damage, row_groups
from runner.sinks.snapshot import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from runner.sinks.snapshot import Snapshot


def response_batches(snapshot: Snapshot, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield columns of `responses`, about a megabyte at a time. Raises DamagedError, BusyError."""
    for part in snapshot.tables["responses"].values():
        yield from part.batches(columns)


def response_numbers(snapshot: Snapshot, column: str) -> NDArray[np.float64]:
    """Return a column of numbers of `responses`, null as NaN. Raises DamagedError, BusyError."""
    pieces: list[NDArray[np.float64]] = []
    for part in snapshot.tables["responses"].values():
        with naming_damage(part.path):
            pieces += [_doubles(batch.column(0)) for batch in row_groups(part.parquet(checked=True), [column])]
    return np.concatenate(pieces) if pieces else np.empty(0)


def score_numbers(snapshot: Snapshot, name: str) -> NDArray[np.float64]:
    """Return a score of all rows of `responses`; NaN without one, or where no such score was made.

    Raises DamagedError, BusyError.
    """
    column = f"score_{name}"
    pieces: list[NDArray[np.float64]] = []
    for part_name, part in snapshot.tables["responses"].items():
        with naming_damage(part.path):
            rows = part.parquet(checked=True).read(PLACE, use_threads=False)
        beside = snapshot.tables[SCORES].get(part_name)
        if beside is None or column not in beside.parquet().schema_arrow.names:
            pieces.append(np.full(rows.num_rows, np.nan))
            continue
        with naming_damage(beside.path):
            scores = beside.parquet(checked=True).read([*PLACE, column], use_threads=False)
        pieces.append(_doubles(scores_beside(rows, scores)[column]))
    return np.concatenate(pieces) if pieces else np.empty(0)


def response_rows(snapshot: Snapshot, places: Sequence[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Return some columns of `responses` by place. Raises DamagedError, BusyError."""
    return dict(rows_by_place(snapshot, "responses", places, columns))


def rows_by_place(
    snapshot: Snapshot, table: str, places: Sequence[int], columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield rows of `responses`, or of a table whose parts are its parts, with their places, in order, each once.

    Row groups without such a row are not read, and of a table that lacks a part none. Raises DamagedError, BusyError.
    """
    parts = snapshot.tables["responses"]
    names, starts = list(parts), [0, *accumulate(part.rows for part in parts.values())]
    inside: dict[int, list[int]] = {}
    for place in sorted(set(places)):
        inside.setdefault(bisect_right(starts, place) - 1, []).append(place)
    for number, chosen in inside.items():
        part, start = snapshot.tables[table].get(names[number]), starts[number]
        if part is not None:
            rows = part.rows_at([one - start for one in chosen], columns)
            for place, values in zip(chosen, rows, strict=True):
                yield place, dict(zip(columns, values, strict=True))


def _doubles(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    # A count beyond 2^53, as only a server that errs states it, loses its last digits.
    chunked = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
    numbers: NDArray[np.float64] = chunked.cast(pa.float64(), safe=False).to_numpy()
    return numbers
