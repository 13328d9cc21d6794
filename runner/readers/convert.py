"""Owns the last step of a dataset value into its typed `in_` column."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from runner.readers.kinds import ColumnKind

if TYPE_CHECKING:
    from collections.abc import Callable

# The value for the Arrow column, and what was lost on the way.
Converted: TypeAlias = tuple[Any, str | None]

_INT64: Final = range(-(1 << 63), 1 << 63)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
# Longer text cannot be within int64 but for leading zeros, and int() refuses thousands of digits.
_INTEGER_CHARS: Final = 100
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_BEYOND_INT64: Final = "integer beyond int64"


def to_kind(value: Any, kind: ColumnKind) -> Converted:
    """Return what an Arrow column of `kind` takes for a JSON-compatible value, and a note where it lost something.

    int64 → int, double → float, bool → bool, string and json → str, timestamps → datetime (naive, or aware in UTC),
    date → date. An empty string is null for all but string and json. What does not fit is null with a note. The
    note does not name the column; the caller puts `in_<column>: ` before it. Never raises.
    """
    if value is None or (value == "" and kind not in _TEXT_KINDS):
        return None, None
    return _BY_KIND[kind](value)


def _int64(value: Any) -> Converted:
    if isinstance(value, str):
        text = value.strip()
        if not _INTEGER.fullmatch(text):
            return None, "not an integer"
        number = int(text) if len(text) <= _INTEGER_CHARS else 1 << 63
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        return None, "not an integer"
    return (number, None) if number in _INT64 else (None, _BEYOND_INT64)


def _double(value: Any) -> Converted:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None, "not a number"
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None, "not a number that a double holds"
    return (number, None) if math.isfinite(number) else (None, "not a finite number")


def _bool(value: Any) -> Converted:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    return (value, None) if isinstance(value, bool) else (None, "not a boolean")


def _string(value: Any) -> Converted:
    return _sound(value) if isinstance(value, str) else _json(value)


def _json(value: Any) -> Converted:
    try:
        return orjson.dumps(value).decode(), None
    except orjson.JSONEncodeError:
        # Integers above 64 bits, lone surrogates, deep nesting.
        pass
    try:
        return _sound(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except RecursionError:
        return None, "nested too deeply"


def _timestamp_utc(value: Any) -> Converted:
    moment = _moment(value)
    return (moment, None) if moment else (None, "not a timestamp")


def _timestamp(value: Any) -> Converted:
    moment = _moment(value)
    return (moment.replace(tzinfo=None), None) if moment else (None, "not a timestamp")


def _date(value: Any) -> Converted:
    try:
        return dt.date.fromisoformat(value), None
    except (ValueError, TypeError):
        return None, "not a date"


def _moment(value: Any) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(value)
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def _sound(text: str) -> Converted:
    if text.isascii() or not _SURROGATES.search(text):
        return text, None
    return _SURROGATES.sub("\ufffd", text), "broken code points replaced by U+FFFD"


_TEXT_KINDS: Final = frozenset({ColumnKind.STRING, ColumnKind.JSON})
_BY_KIND: Final[dict[ColumnKind, Callable[[Any], Converted]]] = {
    ColumnKind.INT64: _int64,
    ColumnKind.DOUBLE: _double,
    ColumnKind.BOOL: _bool,
    ColumnKind.STRING: _string,
    ColumnKind.TIMESTAMP: _timestamp,
    ColumnKind.TIMESTAMP_UTC: _timestamp_utc,
    ColumnKind.DATE: _date,
    ColumnKind.JSON: _json,
}
