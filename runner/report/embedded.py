"""Owns JSON that stands inside of a page: as text it can end no element and begin no comment. Pure."""

from __future__ import annotations

from typing import Any, Final

import orjson

# HTML looks for these in a script element, whatever the JSON around them means; JSON reads the escapes as the same.
_ESCAPES: Final = {b"<": b"\\u003c", b">": b"\\u003e", b"&": b"\\u0026"}
_LINES: Final = {"\u2028".encode(): b"\\u2028", "\u2029".encode(): b"\\u2029"}


def embedded(value: Any) -> bytes:
    """Return a value as JSON without `<`, `>`, `&` and the line ends that are none in JSON."""
    text = orjson.dumps(value)
    for character, escape in (_ESCAPES | _LINES).items():
        text = text.replace(character, escape)
    return text
