"""Owns scanning: a table of a run, or of several, as an Arrow dataset that polars and DuckDB read lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from runner.errors import RunFolderError, UsageError
from runner.results.columns import united
from runner.results.runs import RUN, check_names, folders_of, open_run
from runner.sinks import MOST_OPEN, SCORES

if TYPE_CHECKING:
    from runner.results.runs import Run, RunDirs

ScanTable: TypeAlias = Literal["responses", "scores", "attempts", "raw"]

_TABLES: Final = ("responses", SCORES, "attempts", "raw")


def scan(run_dir: RunDirs, table: ScanTable = "responses") -> ds.Dataset:
    """Open a table of a run, or of several, as a `pyarrow.dataset.Dataset`, without reading its rows.

    polars takes it by `pl.scan_pyarrow_dataset`, DuckDB by its name in a query (or `from_arrow`); both read the columns
    and rows that a query needs, and no more. A list of run folders gives a column `run` (the run id) first, by which
    whole runs are skipped; columns that a run does not have are null, and types that differ come together as `load`
    describes.

    Scores are a table of their own, `scan(run, "scores")`: `key` and `choice` as in `responses`, `score_<name>` and
    `<name>_note`. Arrow has no dataset with columns from two files; joined in the query, by `key` and `choice` (and
    `run`), they stay as lazy as the rest.

    The rows are those of the instant at which it is called: the parts are held open until the dataset is gone, whatever
    replaces them. Raises RunFolderError for a folder that is no run, for scores of a run that has none, and where the
    system allows too few open files; UsageError for a table that is not there.
    """
    if table not in _TABLES:
        raise UsageError(f"{table}: no table to scan", hint=f"one of {', '.join(_TABLES)}")
    folders, several = folders_of(run_dir)
    runs = [open_run(folder, [table], most_open=MOST_OPEN) for folder in folders]
    check_names(runs)
    schema = united(_schema(run, table) for run in runs)
    if several:
        schema = pa.schema([pa.field(RUN, pa.string()), *schema])
    shape = ds.ParquetFileFormat()
    fragments = [
        shape.make_fragment(part.open(), partition_expression=pc.field(RUN) == run.run_id if several else None)
        for run in runs
        for part in run.snapshot.tables[table].values()
    ]
    return ds.FileSystemDataset(fragments, schema, shape)


def _schema(run: Run, table: ScanTable) -> pa.Schema:
    schema = run.snapshot.schema(table)
    if not schema.names:
        raise RunFolderError(
            f"{run.snapshot.folder.root}: has no {table}",
            hint="`evalrunner score RUN_DIR --set 'scorers=[{name: exact_match}]'` gives it some"
            if table == SCORES
            else "",
        )
    return schema
