"""Owns what a single value may be: plain YAML 1.2 scalars, and which texts and numbers the rest of the run can hold."""

from __future__ import annotations

import math
import re
from typing import Any

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")

_SMALLEST_INT = -(2**63)
_LARGEST_INT = 2**64 - 1
_MOST_DIGITS = 30


class BadValueError(ValueError):
    """The value cannot be kept; the message says why, in the words of a user."""


def plain_scalar(text: str) -> Any:
    """Resolve an unquoted scalar by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema).

    `.inf` and `.nan` stay texts, since JSON has no such numbers.

    Raises BadValueError for a number that JSON or 64 bits cannot hold.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return checked_number(int(text) if len(text) <= _MOST_DIGITS else math.inf)
    if _BASED_INT.fullmatch(text):
        return checked_number(int(text, 0))
    if _FLOAT.fullmatch(text):
        return checked_number(float(text))
    return checked_text(text)


def checked_number(value: float) -> float:
    """Return the number. Raises BadValueError where it is not finite or, an integer, beyond 64 bits."""
    fits = _SMALLEST_INT <= value <= _LARGEST_INT if isinstance(value, int) else math.isfinite(value)
    if not fits:
        raise BadValueError("the number is too large or not finite; JSON and 64 bits have to hold it")
    return value


def checked_text(text: str) -> str:
    """Return the text with surrogate pairs joined (JSON's way to write an emoji).

    Raises BadValueError where half of a pair is left over, since no UTF-8 file can hold it.
    """
    if not _SURROGATE.search(text):
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise BadValueError("the text holds a broken code point (half of a surrogate pair)") from None
