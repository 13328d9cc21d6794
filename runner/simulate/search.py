"""Owns searching: which passages of which files a question finds, by the words they share; the same ones every time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runner.simulate.contentstore import Store, StoreEntry

_WORD = re.compile(r"\w+")
_PASSAGE = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that a search found; the score is the share of the question's words that are in it."""

    entry: StoreEntry
    text: str
    score: float


def search(stores: Iterable[Store], question: str, filters: Any = None, most: int = 10) -> list[Found]:
    """Return the best passages of indexed files, best first; those that share no word are not found."""
    words = set(_WORD.findall(question.lower()))
    found = []
    for store in stores:
        for entry in store.entries.values():
            if entry.status == "completed" and passes(entry.attributes, filters):
                for text in _PASSAGE.split(entry.file.content.decode("utf-8", "replace")):
                    shared = words & set(_WORD.findall(text.lower()))
                    if shared:
                        found.append(Found(entry, text.strip(), len(shared) / len(words)))
    found.sort(key=lambda one: (-one.score, one.entry.file.id))
    return found[:most]


def passes(attributes: dict[str, Any], filters: Any) -> bool:
    """Say whether attributes pass a filter. Raises ValueError for one that is none."""
    if filters is None:
        return True
    kind = filters.get("type") if isinstance(filters, dict) else None
    if kind in ("and", "or") and isinstance(filters.get("filters"), list) and filters["filters"]:
        inner = [passes(attributes, one) for one in filters["filters"]]
        return all(inner) if kind == "and" else any(inner)
    if kind in ("eq", "ne", "in", "nin") and isinstance(filters.get("key"), str) and "value" in filters:
        return _compares(kind, attributes.get(filters["key"]), filters["value"])
    raise ValueError(f"Invalid filter: {str(filters)[:80]}")


def _compares(kind: str, own: Any, value: Any) -> bool:
    if kind in ("in", "nin"):
        listed: Sequence[Any] = value if isinstance(value, list) else [value]
        return (own in listed) is (kind == "in")
    return (own == value) is (kind == "eq")
