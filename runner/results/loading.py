"""Owns loading: responses with their scores, and bodies, into pandas with Arrow-backed types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from runner.results.columns import BODIES, all_columns, chosen_columns
from runner.results.parts import Part, read_rows
from runner.results.runs import folders_of, opened
from runner.results.selection import selection_of
from runner.sinks import SCORES, naming_damage, read_anew

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.folder.layout import RunFolder
    from runner.results.runs import Run, RunDirs
    from runner.results.selection import Selection, Where


def load(run_dir: RunDirs, columns: Sequence[str] | None = None, where: Where | None = None) -> pd.DataFrame:
    """Load the responses of a run, or of several: one row for each sample × repeat × choice that ended.

    `columns` chooses columns of `responses` and of its scores (`score_<name>`, `<name>_note`); null takes all of both.
    `request` and `response`, the bodies as bytes, come from `raw` and only when they are named. All dtypes are
    Arrow-backed (`pandas.ArrowDtype`), the same whether the run is empty, all failed or mixed.

    `where` chooses rows, by columns of `responses` and scores: an Arrow expression (`pc.field("status") == "failed"`),
    or filters as `pandas.read_parquet` takes them (`[("status", "==", "failed")]`). These columns are read first, and
    of the others only the row groups with a row that is wanted.

    A list of run folders gives their rows one run after the other, with `run` (the run id) as the first column. Columns
    that a run does not have are null in its rows; where the types of a kept column differ, integers and doubles become
    doubles, all else text.

    Works at any moment of a run, and gives its rows as one commit has left them: none twice, none missing. Memory: what
    the frame needs, and one part. Raises RunFolderError for a folder that is no run and for a column that is not there,
    UsageError for a `where` that is no condition, DamagedError for a damaged part, BusyError where a session replaces
    parts of a very large run faster than they can be read.
    """
    folders, several = folders_of(run_dir)
    table = read_anew(lambda: _load(folders, columns, where, several=several))
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _load(
    folders: Sequence[RunFolder], columns: Sequence[str] | None, where: Where | None, *, several: bool
) -> pa.Table:
    tables = [SCORES, *(["raw"] if {*(columns or ())} & {*BODIES} else [])]
    with opened(folders, tables) as runs:
        known = all_columns([run.responses for run in runs], [run.scores for run in runs], several=several)
        wanted = chosen_columns(known, columns)
        selection = None if where is None else selection_of(where, known)
        pieces = [piece for run in runs for piece in _pieces(run, wanted, selection)]
    return pa.concat_tables(pieces) if pieces else wanted.empty_table()


def _pieces(run: Run, wanted: pa.Schema, selection: Selection | None) -> Iterator[pa.Table]:
    for name, part in run.snapshot.tables["responses"].items():
        with naming_damage(part.path):
            piece = read_rows(Part(run, name), wanted, selection)
        if piece is not None:
            yield piece
