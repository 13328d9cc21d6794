"""Owns the reading of CSV and TSV: a header, then rows of cells that stay text exactly as the file has it."""

from __future__ import annotations

import csv
from itertools import chain
from typing import TYPE_CHECKING, Final

from runner.errors import DatasetError
from runner.readers.batches import BadRow, RowBatch, wanted_offsets
from runner.readers.lines import TOO_LONG, read_blocks, too_long_reason

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from runner.readers.batches import ReadPlan, Row
    from runner.readers.files import DatasetFile
    from runner.readers.lines import Block

# The line a row starts on, and its cells or why it has none.
_Record = tuple[int, list[str] | str]

_QUOTING: Final = 'a cell that begins with " must end with ", and a " inside it be doubled'


def read_csv(file: DatasetFile, plan: ReadPlan, first: int) -> Generator[RowBatch, None, int]:
    """Yield the wanted rows of a comma-separated file; every value is a string.

    The first row that is not blank names the columns. A quoted cell may hold line feeds; `lines` says where a row
    starts. Raises DatasetError for a header with an empty or repeated name, or where the file cannot be read.
    """
    return _read(file, plan, first, ",")


def read_tsv(file: DatasetFile, plan: ReadPlan, first: int) -> Generator[RowBatch, None, int]:
    """Yield the wanted rows of a tab-separated file, otherwise as `read_csv`."""
    return _read(file, plan, first, "\t")


def _read(file: DatasetFile, plan: ReadPlan, first: int, delimiter: str) -> Generator[RowBatch, None, int]:
    # The module's own limit is one for the whole process; the feed bounds a row before a cell can reach it.
    csv.field_size_limit(max(csv.field_size_limit(), plan.limits.row_bytes))
    feed = _Feed(read_blocks(file, plan.limits), plan.limits.row_bytes)
    records = _records(feed, csv.reader(feed, delimiter=delimiter, strict=True), too_long_reason(plan.limits))
    header = _header(file, records)
    for group in _groups(feed, records, plan):
        offsets = wanted_offsets(plan, first, len(group))
        if offsets:
            chosen = [group[offset] for offset in offsets]
            yield RowBatch(
                file.name,
                [first + offset for offset in offsets],
                [line for line, _ in chosen],
                [_row(header, record) for record in chosen],
            )
        first += len(group)
        if first >= plan.end:
            break
    return first


class _RowTooLongError(Exception):
    """Breaks off the row that csv.reader is in; it starts afresh with the next line."""


class _Feed:
    """Hands lines to csv.reader and keeps count of what the row it is in has taken.

    `line` is the number of the last line handed out, `problem` what is wrong with the row's bytes, `taken_bytes` the
    size of all lines so far.
    """

    __slots__ = ("_lines", "_row_bytes", "_row_from_bytes", "line", "problem", "taken_bytes")

    def __init__(self, blocks: Iterable[Block], row_bytes: int) -> None:
        self._lines = chain.from_iterable(block.lines for block in blocks)
        self._row_bytes = row_bytes
        self._row_from_bytes = 0
        self.line = 0
        self.problem: str | None = None
        self.taken_bytes = 0

    def start_row(self) -> None:
        self._row_from_bytes = self.taken_bytes
        self.problem = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.line += 1
        self.taken_bytes += len(line) + 1
        if line is TOO_LONG or self.taken_bytes - self._row_from_bytes - 1 > self._row_bytes:
            raise _RowTooLongError
        try:
            return line.decode() + "\n"
        except UnicodeDecodeError as error:
            self.problem = f"invalid UTF-8 at byte {error.start + 1} of line {self.line}"
            return line.decode(errors="replace") + "\n"


def _records(feed: _Feed, parsed: Iterator[list[str]], too_long: str) -> Iterator[_Record]:
    while True:
        feed.start_row()
        line = feed.line + 1
        try:
            cells = next(parsed)
        except StopIteration:
            return
        except _RowTooLongError:
            yield line, too_long
        except csv.Error as error:
            yield line, f"not valid CSV: {error} ({_QUOTING})"
        else:
            if feed.problem:
                yield line, feed.problem
            elif cells and not (len(cells) == 1 and cells[0].isspace()):
                yield line, cells


def _header(file: DatasetFile, records: Iterator[_Record]) -> list[str]:
    line, names = next(records, (1, []))
    if isinstance(names, str):
        raise DatasetError(f"{file.name}:{line}: the header cannot be read: {names}")
    for column, name in enumerate(names, 1):
        if not name.strip():
            raise DatasetError(
                f"{file.name}:{line}: column {column} has no name", hint="name it in the header (pandas: index=False)"
            )
        if name in names[: column - 1]:
            raise DatasetError(f"{file.name}:{line}: two columns are named {name!r}", hint="rename one of them")
    return names


def _groups(feed: _Feed, records: Iterator[_Record], plan: ReadPlan) -> Iterator[list[_Record]]:
    group: list[_Record] = []
    full_at_bytes = feed.taken_bytes + plan.batch_bytes
    for record in records:
        group.append(record)
        if len(group) >= plan.batch_rows or feed.taken_bytes >= full_at_bytes:
            yield group
            group = []
            full_at_bytes = feed.taken_bytes + plan.batch_bytes
    if group:
        yield group


def _row(header: list[str], record: _Record) -> Row:
    line, cells = record
    if isinstance(cells, str):
        return BadRow(line, cells)
    if len(cells) != len(header):
        return BadRow(line, f"{len(cells)} cells, but the header names {len(header)} columns")
    return dict(zip(header, cells, strict=True))
