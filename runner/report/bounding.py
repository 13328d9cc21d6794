"""Owns how large a page may get: the longest texts are cut until all rows together fit. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runner.report.embedded import embedded
from runner.report.rows import MOST_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.report.rows import ShownRow

# All rows as JSON; the page around them has some hundred kilobytes.
MOST_BYTES: Final = 10_000_000
_MOST_TOKEN_BYTES: Final = 4_000_000
_LEAST_CHARACTERS: Final = 100


def bounded(rows: Sequence[ShownRow], most_bytes: int = MOST_BYTES) -> tuple[list[dict[str, Any]], int]:
    """Return rows as JSON objects that fit together, and how many characters of each text were kept at most.

    Log probabilities that would not fit are left out, of the last rows first; texts are cut, the longest first.
    """
    room = _MOST_TOKEN_BYTES
    for row in rows:
        if row.facts.get("tokens") and (room := room - _bytes(row.facts["tokens"])) < 0:
            row.facts["tokens"] = None
            row.facts["tokens_left_out"] = True
    fixed = sum(_bytes(row.facts) for row in rows)
    texts = [text for row in rows for text in (*row.texts.values(), *(text for _, text in row.messages))]
    most = MOST_CHARACTERS
    while most > _LEAST_CHARACTERS and fixed + sum(_bytes(text[:most]) for text in texts) > most_bytes:
        most //= 2
    return [_object(row, most) for row in rows], most


def _bytes(value: Any) -> int:
    return len(embedded(value))


def _object(row: ShownRow, most: int) -> dict[str, Any]:
    cut_off = dict(row.cut_off)
    shown = dict(row.facts)
    for name, text in row.texts.items():
        shown[name] = text[:most]
        cut_off[name] = cut_off.get(name, 0) + max(0, len(text) - most)
    shown["prompt"] = [[role, text[:most]] for role, text in row.messages]
    cut_off["prompt"] = cut_off.get("prompt", 0) + sum(max(0, len(text) - most) for _, text in row.messages)
    shown["cut"] = {name: count for name, count in cut_off.items() if count}
    return shown
