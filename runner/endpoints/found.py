"""Owns what becomes of a value that an adapter's expression found: a text, a number, a word, or nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from runner.endpoints.expressions import compile_expression
from runner.jsontext import describe, dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Find = Callable[[Any], Any]


def nothing(_: Any) -> None:
    """Find nothing in any value."""


def itself(value: Any) -> Any:
    """Find the value itself."""
    return value


def find_in(section: Mapping[str, Any], name: str, otherwise: Find = nothing) -> Find:
    """Return what looks up the expression of this name; `otherwise` where there is none."""
    text = section.get(name)
    return otherwise if text is None else compile_expression(text).find


def as_text(value: Any, name: str, notes: list[str]) -> str | None:
    """Return a text; the texts of a list are joined, and anything else is kept as JSON, with a note."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "".join(value) if value else None
    notes.append(f"{name} is no text but JSON")
    return dumps(value)


def as_refusal(value: Any, notes: list[str]) -> str | None:
    """Return a refusal; `"None"`, which some servers write, is none."""
    text = as_text(value, "refusal", notes)
    return text if text and text != "None" else None


def as_word(value: Any) -> str | None:
    """Return a text or a number as text; null for anything else."""
    if isinstance(value, str):
        return value
    return dumps(value) if type(value) in {int, float} else None


def as_line(value: Any) -> str:
    """Return any value on one line, without what a terminal or a log would obey."""
    if value is None or value == "":
        return ""
    text = describe(value, 4096)
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def as_number(value: Any) -> float | None:
    """Return a finite number; null for anything else."""
    return float(value) if type(value) in {int, float} and _is_finite(value) else None


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def item_at(values: Any, place: int) -> Any:
    """Return an item of a list; null where there is none, and where it is no list."""
    return values[place] if isinstance(values, list) and place < len(values) else None
