"""Owns rows as JSON Lines: every column, one object a line, nothing in it that a terminal or a line reader obeys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from runner.jsontext import dumps
from runner.sinks import scored_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.sinks import Snapshot

# NaN becomes null, times are ISO 8601 in UTC.
OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z
# What JSON lets stand as it is and others act on: DEL and C1 controls, line and paragraph separators, marks that
# reorder text. In UTF-8; its first bytes begin a character wherever they stand.
_ACTING = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


def json_lines(snapshot: Snapshot, columns: Sequence[str]) -> Iterator[bytes]:
    """Yield a line for each row of a run."""
    for rows in scored_rows(snapshot, columns):
        for values in zip(*rows.values(), strict=True):
            yield as_line(dict(zip(columns, values, strict=True)))


def as_line(value: dict[str, Any]) -> bytes:
    """Return an object as one line; what others act on is escaped, which changes nothing for who reads it as JSON."""
    try:
        line = orjson.dumps(value, option=OPTIONS)
    except TypeError:  # an integer of a server beyond 64 bit
        line = (dumps(value) or "null").encode()
    return _ACTING.sub(_escaped, line) + b"\n"


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())
