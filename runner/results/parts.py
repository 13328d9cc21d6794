"""Owns reading one part: its rows, those that are wanted, with scores and bodies beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from runner.results.columns import BODIES
from runner.results.runs import RUN
from runner.sinks import JOINED, PLACE, RAW_JOINED, SCORES, raw_rows, scores_beside

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from runner.results.runs import Run
    from runner.results.selection import Selection


class Part:
    """One part of `responses`, open, with the parts of the same name that hold its scores and bodies."""

    def __init__(self, run: Run, name: str) -> None:
        tables = run.snapshot.tables
        self.run = run
        self.file = tables["responses"][name].parquet()
        self.scores = tables[SCORES].get(name)
        self.raw = tables.get("raw", {}).get(name)
        counts = [self.file.metadata.row_group(group).num_rows for group in range(self.file.num_row_groups)]
        # Where each row group begins, and the last one ends.
        self.starts = np.cumsum([0, *counts])


def read_rows(part: Part, wanted: pa.Schema, selection: Selection | None) -> pa.Table | None:
    """Return some columns of the rows that are wanted; null where there are none.

    What the selection looks at is read first, then of the others only the row groups in which a row is wanted.
    """
    groups = list(range(part.file.num_row_groups))
    chosen = None
    if selection is not None and groups:
        chosen = selection.rows(_read(part, selection.columns, groups, None))
        groups = [group for group in groups if chosen[part.starts[group] : part.starts[group + 1]].any()]
    return _read(part, wanted, groups, chosen) if groups else None


def _read(part: Part, wanted: pa.Schema, groups: Sequence[int], chosen: NDArray[np.bool_] | None) -> pa.Table:
    """Return columns of some row groups, of these the rows that were chosen; what the run does not have is null."""
    scored = _names(wanted, part.run.scores.names, but=PLACE) if part.scores is not None else []
    bodies = _names(wanted, BODIES)
    own = _names(wanted, part.run.responses.names)
    needed = dict.fromkeys([*own, *(PLACE if scored else ()), *(JOINED if bodies else ())])
    rows = part.file.read_row_groups(groups, columns=list(needed))
    count = int(sum(part.starts[group + 1] - part.starts[group] for group in groups))
    if chosen is not None:
        mask = np.concatenate([chosen[part.starts[group] : part.starts[group + 1]] for group in groups])
        count = int(mask.sum())
        rows = rows if mask.all() else rows.filter(mask)
    found = {name: rows[name] for name in own}
    if scored and part.scores is not None:
        scores = part.scores.parquet().read([*PLACE, *scored])
        found |= _columns(scores_beside(rows, scores, chosen), scored)
    if bodies and part.raw is not None:
        raw = part.raw.parquet().read([*RAW_JOINED, *bodies])
        found |= _columns(raw.take(pa.array(raw_rows(rows, raw), pa.int64())), bodies)
    if RUN in wanted.names:
        found[RUN] = pa.repeat(pa.scalar(part.run.run_id), count)
    return pa.table([_as(found.get(field.name), field, count) for field in wanted], schema=wanted)


def _names(wanted: pa.Schema, among: Collection[str], *, but: Collection[str] = ()) -> list[str]:
    return [name for name in wanted.names if name in among and name not in but]


def _columns(table: pa.Table, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    return {name: table[name] for name in names}


def _as(column: pa.ChunkedArray | None, field: pa.Field, count: int) -> pa.ChunkedArray | pa.Array:
    """Return a column in the type that it has in all runs together."""
    if column is None:
        return pa.nulls(count, field.type)
    return column if column.type == field.type else column.cast(field.type, safe=False)
