"""Owns the reading of a whole dataset: which function reads which suffix, and row numbers over all files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runner.readers.arrow import arrow_schema, read_arrow
from runner.readers.batches import LIMITS, ReadPlan, end_of
from runner.readers.delimited import read_csv, read_tsv
from runner.readers.files import dataset_file
from runner.readers.jsonl import read_jsonl
from runner.readers.kinds import merge_kinds
from runner.readers.parquet import parquet_schema, read_parquet
from runner.readers.scan import CellScan, ColumnScan
from runner.readers.values import schema_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from runner.readers.batches import Reader, ReadLimits, RowBatch, Wanted
    from runner.readers.files import DatasetFile
    from runner.readers.kinds import ColumnKind

READERS: Final[dict[str, Reader]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
}

# The formats that declare their columns' types.
_SCHEMAS: Final[dict[str, Callable[[DatasetFile, ReadLimits], Any]]] = {
    ".parquet": parquet_schema,
    ".arrow": arrow_schema,
    ".feather": arrow_schema,
}


def read_batches(
    paths: Sequence[Path],
    *,
    wanted: Wanted | None = None,
    batch_rows: int = 512,
    batch_bytes: int = 4 << 20,
    limits: ReadLimits = LIMITS,
) -> Iterator[RowBatch]:
    """Yield the rows of all files, in order, in batches of at most `batch_rows` rows and about `batch_bytes` bytes.

    With `wanted`, only rows whose element is true; rows past its end are not read. A row that cannot be used is given
    as BadRow. Raises DatasetError where a file cannot be read to its end.
    """
    plan = ReadPlan(wanted, batch_rows, batch_bytes, limits, end_of(wanted))
    number = 0
    for path in paths:
        if number >= plan.end:
            return
        file = dataset_file(path)
        number = yield from READERS[file.suffix](file, plan, number)


def source_kinds(paths: Sequence[Path]) -> dict[str, ColumnKind] | None:
    """Return the kinds that the files' schemas declare, None where a file is text. Raises DatasetError."""
    files = [dataset_file(path) for path in paths]
    if not all(file.suffix in _SCHEMAS for file in files):
        return None
    return merge_kinds(schema_kinds(_SCHEMAS[file.suffix](file, LIMITS)) for file in files)


def scan_for(paths: Sequence[Path]) -> ColumnScan | CellScan:
    """Return the scan that fits the files: of cells where all are CSV or TSV, else of JSON values."""
    cells = all(dataset_file(path).suffix in {".csv", ".tsv"} for path in paths)
    return CellScan() if cells else ColumnScan()
