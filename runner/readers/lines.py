"""Owns the cutting of a text file into lines, with a cap on how long a line may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner.errors import DatasetError
from runner.readers.streams import StreamError, read_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runner.readers.batches import ReadLimits
    from runner.readers.files import DatasetFile

# Stands in for a line above the cap. Compared by identity: a file's own line is never this object.
TOO_LONG: Final = b"a line above the cap"

_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring whole lines without their line feeds; `first_line` counts from 1.

    `piece` is the part of the file that all of them end in: every line but the first lies in it wholly.
    """

    first_line: int
    lines: list[bytes]
    piece: bytes


def read_blocks(file: DatasetFile, limits: ReadLimits) -> Iterator[Block]:
    """Yield all lines of a UTF-8 text file, piece by piece; a line above `limits.row_bytes` is TOO_LONG.

    A byte order mark at the start is dropped. Raises DatasetError with the last line reached.
    """
    next_line = 1
    try:
        for lines, piece in _cut(read_content(file, limits), limits.row_bytes):
            if next_line == 1:
                lines[0] = _without_mark(file, lines[0])
            yield Block(next_line, lines, piece)
            next_line += len(lines)
    except StreamError as error:
        where = f"after line {next_line - 1}" if next_line > 1 else "before the end of its first line"
        raise DatasetError(f"{file.name}: {error.reason}, {where}", hint=error.hint) from error


def too_long_reason(limits: ReadLimits) -> str:
    """Return the reason of a bad row that is above the cap."""
    size, unit = (limits.row_bytes >> 20, "MiB") if limits.row_bytes >> 20 else (limits.row_bytes, "bytes")
    return f"row is longer than {size} {unit}"


def _cut(pieces: Iterable[bytes], row_bytes: int) -> Iterator[tuple[list[bytes], bytes]]:
    begun: list[bytes] = []  # a line that has no end yet; emptied once it is above the cap
    begun_bytes = 0
    for piece in pieces:
        lines = piece.split(b"\n")
        rest = lines.pop()
        if lines:
            begun_bytes += len(lines[0])
            lines[0] = TOO_LONG if begun_bytes > row_bytes else b"".join((*begun, lines[0]))
            if len(piece) > row_bytes:
                lines = [TOO_LONG if len(line) > row_bytes else line for line in lines]
            yield lines, piece
            begun, begun_bytes = [], 0
        begun.append(rest)
        begun_bytes += len(rest)
        if begun_bytes > row_bytes:
            begun.clear()
    if begun_bytes:
        yield [TOO_LONG if begun_bytes > row_bytes else b"".join(begun)], begun[-1] if begun else b""


def _without_mark(file: DatasetFile, line: bytes) -> bytes:
    if line.startswith(_UTF16_MARKS):
        raise DatasetError(f"{file.name}: is UTF-16 text", hint="save it as UTF-8")
    return line if line is TOO_LONG else line.removeprefix(_UTF8_MARK)
