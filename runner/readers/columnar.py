"""Owns the way from Arrow record batches to batches of rows with JSON-compatible values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from runner.errors import DatasetError
from runner.readers.batches import BadRow, RowBatch, any_wanted, rows_per_batch, wanted_offsets
from runner.readers.lines import too_long_reason
from runner.readers.values import column_values

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from runner.readers.batches import ReadLimits, ReadPlan, Row
    from runner.readers.files import DatasetFile

# A record batch and the number (from 0) that its first row has in the file.
Placed: TypeAlias = "tuple[int, pa.RecordBatch]"


def read_placed(
    file: DatasetFile, placed: Iterable[Placed], plan: ReadPlan, first: int
) -> Generator[RowBatch, None, int]:
    """Yield the wanted rows of record batches, in portions bounded by rows and bytes; return the number after them.

    A row that no Python value can hold (broken UTF-8, a date beyond year 9999) or that is above the cap is a bad row.
    Raises DatasetError where the file cannot be read on.
    """
    number = first
    for place, batch in _translating(file, placed):
        number = first + place + batch.num_rows
        if not any_wanted(plan, first + place, batch.num_rows):
            continue
        step = rows_per_batch(plan, batch.num_rows, batch.nbytes)
        for start in range(0, batch.num_rows, step):
            part = batch.slice(start, step)
            offsets = wanted_offsets(plan, first + place + start, part.num_rows)
            if offsets:
                begin = place + start
                yield RowBatch(
                    file.name,
                    [first + begin + offset for offset in offsets],
                    [begin + offset + 1 for offset in offsets],
                    _chosen_rows(part, begin + 1, offsets, plan.limits),
                )
    return number


def check_schema(file: DatasetFile, schema: pa.Schema) -> pa.Schema:
    """Return `schema`. Raises DatasetError where two columns have one name."""
    for position, name in enumerate(schema.names):
        if name in schema.names[:position]:
            raise DatasetError(f"{file.name}: two columns are named {name!r}", hint="rename one of them")
    return schema


def unreadable(file: DatasetFile, error: Exception, row: int) -> DatasetError:
    """Return the DatasetError for an error of pyarrow or the file system, met after `row` rows."""
    return DatasetError(
        f"{file.name}: cannot be read as {file.suffix}, after row {row}: {_first_line(error)}",
        hint="check that the file is complete and that it may be read",
    )


def _translating(file: DatasetFile, placed: Iterable[Placed]) -> Iterator[Placed]:
    row = 0
    try:
        for place, batch in placed:
            yield place, batch
            row = place + batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise unreadable(file, error, row) from error


def _chosen_rows(part: pa.RecordBatch, line: int, offsets: Sequence[int], limits: ReadLimits) -> list[Row]:
    # Arrow's own `take` knows fewer types than slices do.
    begin, end = offsets[0], offsets[-1] + 1
    rows = _rows(part.slice(begin, end - begin), line + begin, limits)
    return rows if len(rows) == len(offsets) else [rows[offset - begin] for offset in offsets]


def _rows(part: pa.RecordBatch, line: int, limits: ReadLimits) -> list[Row]:
    if part.nbytes <= limits.row_bytes:
        try:
            return list(_dicts(part))
        except (ValueError, OverflowError, pa.ArrowException):
            pass
    return [_row(part.slice(offset, 1), line + offset, limits) for offset in range(part.num_rows)]


def _row(part: pa.RecordBatch, line: int, limits: ReadLimits) -> Row:
    if part.nbytes > limits.row_bytes:
        return BadRow(line, too_long_reason(limits))
    row: dict[str, Any] = {}
    for name, column in zip(part.schema.names, part.columns, strict=True):
        try:
            (row[name],) = column_values(column)
        except (ValueError, OverflowError, pa.ArrowException) as error:
            return BadRow(line, f"column {name!r} holds a value that cannot be read: {_first_line(error)}")
    return row


def _dicts(part: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    names = part.schema.names
    if not names:
        return iter([{} for _ in range(part.num_rows)])
    columns = [column_values(column) for column in part.columns]
    return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
