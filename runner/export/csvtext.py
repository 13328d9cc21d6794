"""Owns rows as CSV (RFC 4180): UTF-8, a header, cells that no spreadsheet takes for a formula.

A cell of text that a spreadsheet might execute gets an apostrophe before it, and so does one that begins with one: the
text is the cell without its first apostrophe ("CSV Injection", OWASP). It is decided by the column's type, not by what
a text looks like: numbers stay numbers, and the text -1.5 is a text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import orjson

from runner.export.jsonl import OPTIONS
from runner.sinks import scored_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.sinks import Snapshot

_FORMULA: Final = frozenset("=+-@\u2212")
_LINE_STARTS: Final = ("\t", "\r", "\n")
MARK: Final = "'"
# What spreadsheets drop from the front of a cell, or people do: quotes, white space, marks without a width.
_DROPPED = re.compile("[\\s\"'`\u00ad\u200b-\u200f\u2060\ufeff\ufffd]*")
# Controls but tab and line ends, and marks that reorder text: CSV has no way to write them that is inert.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_QUOTED = re.compile(r'[",\r\n]|^\s|\s$')


def csv_lines(snapshot: Snapshot, columns: Sequence[str]) -> Iterator[bytes]:
    """Yield the header, then a line for each row of a run."""
    yield _line(columns)
    for rows in scored_rows(snapshot, columns):
        for values in zip(*rows.values(), strict=True):
            yield _line(values)


def cell(value: Any) -> str:
    """Return a value as it stands between two commas; null is nothing, an empty text is two quotes."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        return _quoted(inert_text(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = orjson.dumps(value, option=OPTIONS).decode()
    return text[1:-1] if isinstance(value, date) else _quoted(inert_text(text))


def inert_text(text: str) -> str:
    """Return a text that nothing executes; what begins with an apostrophe now is the text without it."""
    text = _CONTROL.sub("\ufffd", text)
    dropped = _DROPPED.match(text)
    first = text[dropped.end() : dropped.end() + 1] if dropped else ""
    acts = first in _FORMULA or unicodedata.normalize("NFKC", first) in _FORMULA
    return MARK + text if acts or text.startswith((MARK, *_LINE_STARTS)) else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if not text or _QUOTED.search(text) else text


def _line(values: Sequence[Any]) -> bytes:
    # Alone on its line, nothing would be no row.
    return ((",".join(map(cell, values)) or '""') + "\r\n").encode()
