"""Owns reading JSON that servers really send: strict first, then tolerant with a note, never a lost body.

orjson refuses NaN, lone surrogates, invalid UTF-8, a byte-order mark and nesting beyond 1024; servers send all of
these inside answers that were paid for. What the strict parser refuses is read again by the standard library, and what
that refuses without the commas before a closing bracket, which bodies written by hand or by template have.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

_SURROGATE = re.compile("[\ud800-\udfff]")
_DECODER = json.JSONDecoder(strict=False)
# A text, which is kept whole (an open one to the end), or a comma that nothing comes after.
_TEXT_OR_COMMA = re.compile(r'("(?:[^"\\]++|\\.)*+(?:"|\Z|\\))|,(?=\s*+[}\]])', re.DOTALL)
# How a note says that something stands behind the value.
TRAILING = "characters after the JSON value"


class NestingError(ValueError):
    """JSON that goes deeper than the parser can follow: to send the request again would bring the same."""


def loads(body: bytes) -> tuple[Any, str | None]:
    """Return the value and, where the body was not strict JSON, a note that says how.

    Raises ValueError when there is no JSON value to be had.
    """
    try:
        return orjson.loads(body), None
    except orjson.JSONDecodeError:
        return _tolerant(body)


def dumps(value: Any) -> str | None:
    """Return JSON text of a value that `loads` gave; null where it is nested too deeply to be written.

    Integers beyond 64 bit stay as they are, what JSON has no number for becomes null.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        pass
    try:
        return json.dumps(_without_nan(value), ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return None


def describe(value: Any, length: int) -> str:
    """Return any JSON value as a text of at most `length` characters, for messages."""
    try:
        return scrub(value if isinstance(value, str) else str(value))[:length]
    except RecursionError:
        return "a value that is nested too deeply"


def scrub(text: str) -> str:
    """Replace code points that no UTF-8 text holds (lone surrogates) by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _tolerant(body: bytes) -> tuple[Any, str | None]:
    notes = []
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
        notes.append("byte-order mark")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        text = body.decode("utf-8", errors="replace")
        notes.append(f"invalid UTF-8 at byte {error.start}")
    text = text.strip()
    if not text:
        raise ValueError("the body is empty")
    try:
        value, text, end = _decode(text, notes)
        value = _scrub_all(value)
    except RecursionError:
        raise NestingError("the body is nested too deeply to be read") from None
    if end < len(text):
        notes.append(f"{len(text) - end} {TRAILING}")
    return value, "; ".join(notes) or "body is not strict JSON"


def _decode(text: str, notes: list[str]) -> tuple[Any, str, int]:
    """Return the first value, the text that it was read from, and where it ends there."""
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError:
        mended = _TEXT_OR_COMMA.sub(lambda found: found[1] or "", text)
        if mended == text:
            raise
        value, end = _DECODER.raw_decode(mended)
        notes.append("trailing comma")
        return value, mended, end
    return value, text, end


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return value


def _scrub_all(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, list):
        return [_scrub_all(item) for item in value]
    if isinstance(value, dict):
        return {scrub(key): _scrub_all(item) for key, item in value.items()}
    return value
