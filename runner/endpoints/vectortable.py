"""Owns the answer whose entries differ in their number and their vector alone, as those of nearly all servers do.

Such an answer is a table of bytes: what stands between two vectors is the same each time but for the number, so that
all of it is compared, and all vectors are taken, without looking at one entry after the other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from runner.endpoints.vectors import decode_tables
from runner.jsontext import loads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_EMBEDDING = re.compile(rb'"embedding"\s*:\s*"')
_INDEX = re.compile(rb'"index"\s*:\s*(0|1)(?=[\s,}])')
_HEAD_BYTES = 32 * 1024
# Stands for a vector that was cut out of an answer; no base64 text is this.
_CUT = b"@"


class VectorTable(NamedTuple):
    """An answer: its JSON with the first entry alone and without that one's text, and all vectors by their numbers."""

    value: dict[str, Any]
    vectors: NDArray[np.float32]


def read_table(body: bytes, count: int) -> VectorTable | None:
    """Read an answer with `count` vectors whose entries are numbered in their order; null where it is no such table.

    In JSON a quote inside a text is escaped, so that a key with its quotes can be nothing else. The first entry and
    the last are parsed with all that stands around them; the others are the same bytes.
    """
    mark = _EMBEDDING.search(body, 0, _HEAD_BYTES)
    if count < 2 or mark is None:  # noqa: PLR2004 - it takes two to see what repeats
        return None
    start = mark.end()
    length = body.find(b'"', start) - start
    following = body.find(mark[0], start + length + 1) if length > 0 else -1
    if following < 0:
        return None
    between = body[start + length : following + len(mark[0])]
    numbers = list(_INDEX.finditer(between))
    if len(numbers) != 1:
        return None
    before, behind = around = between[: numbers[0].start(1)], between[numbers[0].end(1) :]
    first = int(numbers[0][1])
    tables: list[NDArray[np.uint8]] = []
    for table, own in _tables(body, start, length + len(before) + len(behind), range(first, first + count - 1)):
        if not len(table) or not _is_regular(table, length, around, own):
            return None
        tables.append(table[:, :length])
        start += table.size
    end = start + length
    if body[end : end + 1] != b'"':
        return None
    tables.append(np.frombuffer(body, np.uint8, length, start).reshape(1, -1))
    value = _skeleton(body[: mark.end()], between, body[end:], (first, count))
    vectors = None if value is None else decode_tables(tables)
    return None if value is None or vectors is None else VectorTable(value, vectors)


def _tables(body: bytes, start: int, without_digits: int, numbers: range) -> Iterator[tuple[NDArray[np.uint8], range]]:
    """Yield a row for each vector but the last with what follows it, those with as many digits together.

    Ends with an empty table where the body does.
    """
    number = numbers.start
    while number < numbers.stop:
        digits = len(str(number))
        own = range(number, min(numbers.stop, 10**digits))
        width = without_digits + digits
        size = width * len(own) if start + width * len(own) <= len(body) else 0
        yield np.frombuffer(body, np.uint8, size, start).reshape(-1, width), own
        start += width * len(own)
        number = own.stop


def _is_regular(table: NDArray[np.uint8], length: int, around: tuple[bytes, bytes], numbers: range) -> bool:
    """Say whether what follows each vector is the same, with its number in it."""
    before, behind = around
    digits = table.shape[1] - length - len(before) - len(behind)
    place = length + len(before)
    texts = np.frombuffer("".join(map(str, numbers)).encode(), np.uint8).reshape(-1, digits)
    return (
        bool((table[:, length:place] == np.frombuffer(before, np.uint8)).all())
        and bool((table[:, place : place + digits] == texts).all())
        and bool((table[:, place + digits :] == np.frombuffer(behind, np.uint8)).all())
    )


def _skeleton(head: bytes, between: bytes, tail: bytes, numbering: tuple[int, int]) -> dict[str, Any] | None:
    """Return the JSON of an answer with its first entry, if that of its first and last shows what the table says."""
    try:
        read, note = loads(head + _CUT + between + _CUT + tail)
    except ValueError:
        return None
    value: dict[str, Any] = read if note is None and isinstance(read, dict) else {}
    entries = value.get("data")
    if not isinstance(entries, list) or len(entries) != 2:  # noqa: PLR2004 - the first and the last
        return None
    first, count = numbering
    # A number behind its vector was cut out with the entries in between: there the last one keeps its own.
    expected = [0, 1 if first else count - 1]
    for entry, index in zip(entries, expected, strict=True):
        if not isinstance(entry, dict) or entry.get("embedding") != _CUT.decode():
            return None
        if type(entry.get("index")) is not int or entry["index"] != index:
            return None
    del entries[1:]
    return value
