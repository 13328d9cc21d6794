"""Owns what the items of a server's lists are, as an adapter maps them: documents and knowledge bases.

Items are hostile: what does not fit is null, and an item without an id that can stand in a path is none.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from runner.content.api import CANCELLED, FAILED, PENDING, READY, Document, KnowledgeBase
from runner.content.calls import usable_id
from runner.endpoints.answers import seconds_or_none
from runner.endpoints.found import as_line, as_word, find_in
from runner.jsontext import dumps, scrub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", re.IGNORECASE)
_BEHIND_HASH = "-_. /:"
_DOCUMENT = ("id", "name", "sha256", "size_bytes", "created_at", "status", "error")
_BASE = ("id", "name", "documents", "size_bytes")
_STATES = (READY, PENDING, FAILED, CANCELLED)
_LONGEST_NAME, _LONGEST_WORD, _LONGEST_ERROR = 512, 60, 300


class DocumentReader:
    """Reads documents: the expressions of `documents.document`, compiled."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self._find = _finders(mapping, _DOCUMENT)
        self._says_status = mapping.get("status") is not None
        self._states: dict[str, str] = {**{state: state for state in _STATES}, **mapping.get("states", {})}

    def id(self, item: Any) -> str | None:
        """Return an item's id; null for an item that has none."""
        return _id(self._find["id"](item))

    def read(self, item: Any, identity: str) -> Document:
        """Return an item as a document."""
        find = self._find
        name, sha256 = _name(find["name"](item)), _sha256(find["sha256"](item))
        status, unknown = self._status(find["status"](item))
        return Document(
            id=identity,
            status=status,
            name=_without_hash(name, sha256),
            size_bytes=_count(find["size_bytes"](item)),
            sha256=sha256,
            created_at=_seconds(find["created_at"](item)),
            error=as_line(find["error"](item))[:_LONGEST_ERROR] or unknown,
        )

    def _status(self, found: Any) -> tuple[str, str | None]:
        """Return one of our words for the server's, and what it says where its word is not known."""
        if not self._says_status:
            return READY, None
        word = (dumps(found) or "") if isinstance(found, bool) else as_word(found)
        if word is None:
            return PENDING, None
        state = self._states.get(word)
        return (PENDING, f"the server says: {as_line(word)[:_LONGEST_WORD]}") if state is None else (state, None)


class BaseReader:
    """Reads knowledge bases: the expressions of `documents.knowledge_bases`, compiled."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self._find = _finders(mapping, _BASE)

    def id(self, item: Any) -> str | None:
        """Return an item's id; null for an item that has none."""
        return _id(self._find["id"](item))

    def read(self, item: Any, identity: str) -> KnowledgeBase:
        """Return an item as a knowledge base."""
        find = self._find
        counts = _count(find["documents"](item)), _count(find["size_bytes"](item))
        return KnowledgeBase(identity, _name(find["name"](item)), *counts)


def _finders(mapping: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Callable[[Any], Any]]:
    return {name: find_in(mapping, name) for name in names}


def _id(found: Any) -> str | None:
    return usable_id(as_word(found))


def _name(found: Any) -> str | None:
    word = as_word(found)
    return scrub(word)[:_LONGEST_NAME] if word else None


def _sha256(found: Any) -> str | None:
    matched = _HASH.search(found) if isinstance(found, str) else None
    return matched.group().lower() if matched else None


def _without_hash(name: str | None, sha256: str | None) -> str | None:
    """Return a name without the hash that stands before it where the server keeps it there."""
    if name is None or sha256 is None or not name.lower().startswith(sha256):
        return name
    return name[len(sha256) :].lstrip(_BEHIND_HASH) or name


def _count(found: Any) -> int | None:
    number = int(found) if isinstance(found, float) and found.is_integer() else found
    return number if type(number) is int and 0 <= number < 2**63 else None


def _seconds(found: Any) -> int | None:
    if isinstance(found, str):
        try:
            return seconds_or_none(datetime.fromisoformat(found).timestamp())
        except (ValueError, OverflowError, OSError):
            return None
    return seconds_or_none(found)
