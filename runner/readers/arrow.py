"""Owns the reading of Arrow IPC data, file or stream (Feather version 2 is the file form)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from runner.errors import DatasetError
from runner.readers.columnar import check_schema, read_placed, unreadable
from runner.readers.streams import open_seekable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from runner.readers.batches import ReadLimits, ReadPlan, RowBatch
    from runner.readers.columnar import Placed
    from runner.readers.files import DatasetFile

_FILE_MAGIC: Final = b"ARROW1"
_FEATHER_1_MAGIC: Final = b"FEA1"


def read_arrow(file: DatasetFile, plan: ReadPlan, first: int) -> Generator[RowBatch, None, int]:
    """Yield the wanted rows; record batches without one are not converted.

    Values are as `column_values` says. Raises DatasetError where the file cannot be read.
    """
    with _opened(file, plan.limits) as source:
        return (yield from read_placed(file, _record_batches(source, plan.end - first), plan, first))


def arrow_schema(file: DatasetFile, limits: ReadLimits) -> pa.Schema:
    """Return the schema. Raises DatasetError where the file cannot be read."""
    with _opened(file, limits) as source:
        return source.schema


@contextmanager
def _opened(
    file: DatasetFile, limits: ReadLimits
) -> Iterator[pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader]:
    with open_seekable(file, limits) as path:
        try:
            with path.open("rb") as start:
                magic = start.read(len(_FILE_MAGIC))
            if magic.startswith(_FEATHER_1_MAGIC):
                raise DatasetError(f"{file.name}: is Feather version 1", hint="write it again as version 2")
            # Mapped, so that record batches larger than memory can be read a part at a time.
            mapped = pa.memory_map(str(path))
            source = pa.ipc.open_file(mapped) if magic == _FILE_MAGIC else pa.ipc.open_stream(mapped)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(file, error, 0) from error
        with mapped, source:
            check_schema(file, source.schema)
            yield source


def _record_batches(
    source: pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader, rows: int
) -> Iterator[Placed]:
    place = 0
    for batch in _all_batches(source):
        # IPC has no checksums: offsets that a damaged file got wrong must not reach code that trusts them.
        batch.validate(full=True)
        yield place, batch
        place += batch.num_rows
        if place >= rows:
            return


def _all_batches(
    source: pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader,
) -> Iterator[pa.RecordBatch]:
    if isinstance(source, pa.ipc.RecordBatchFileReader):
        return (source.get_batch(index) for index in range(source.num_record_batches))
    return iter(source)
