"""Owns the reading of Parquet files: row group by row group, in portions fitted to the width of their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from runner.readers.batches import any_wanted, rows_per_batch
from runner.readers.columnar import check_schema, read_placed, unreadable
from runner.readers.streams import open_seekable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from runner.readers.batches import ReadLimits, ReadPlan, RowBatch
    from runner.readers.columnar import Placed
    from runner.readers.files import DatasetFile


def read_parquet(file: DatasetFile, plan: ReadPlan, first: int) -> Generator[RowBatch, None, int]:
    """Yield the wanted rows; row groups without one are not read.

    Values are as `column_values` says. Raises DatasetError where the file cannot be read.
    """
    with open_seekable(file, plan.limits) as path, _open(file, path) as source:
        check_schema(file, source.schema_arrow)
        yield from read_placed(file, _record_batches(source, plan, first), plan, first)
        rows: int = source.metadata.num_rows
        return first + rows


def parquet_schema(file: DatasetFile, limits: ReadLimits) -> pa.Schema:
    """Return the Arrow schema. Raises DatasetError where the file cannot be read."""
    with open_seekable(file, limits) as path, _open(file, path) as source:
        return check_schema(file, source.schema_arrow)


def _open(file: DatasetFile, path: Path) -> pq.ParquetFile:
    try:
        # A buffer makes the reader take pages one by one; without, a column of a row group is in memory at once.
        return pq.ParquetFile(
            path,
            buffer_size=1 << 20,
            pre_buffer=False,
            coerce_int96_timestamp_unit="us",
            page_checksum_verification=True,
        )
    except (OSError, pa.ArrowException) as error:
        raise unreadable(file, error, 0) from error


def _record_batches(source: pq.ParquetFile, plan: ReadPlan, first: int) -> Iterator[Placed]:
    place = 0
    width_bytes = 0  # the widest average so far: dictionaries make rows wider than the file's own figures say
    for group in range(source.metadata.num_row_groups):
        rows = source.metadata.row_group(group).num_rows
        if any_wanted(plan, first + place, rows):
            width_bytes = max(width_bytes, source.metadata.row_group(group).total_byte_size // max(rows, 1))
            size = rows_per_batch(plan, rows, width_bytes * rows)
            position = place
            for batch in source.iter_batches(batch_size=size, row_groups=[group], use_threads=False):
                width_bytes = max(width_bytes, batch.nbytes // max(batch.num_rows, 1))
                yield position, batch
                position += batch.num_rows
        place += rows
