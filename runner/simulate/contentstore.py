"""Owns the simulator's content: vector stores, files, what is indexed when, and a log of what was done.

Shapes: OpenAI API reference, "Vector stores", "Vector store files" and "Files". Ids are counted, so that two servers
that were asked the same have the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UPLOAD_FAULTS = frozenset({"500", "500_after", "cut", "400", "hang", "hang_after"})
LIST_FAULTS = frozenset({"duplicates", "endless"})


@dataclass(frozen=True, slots=True)
class ContentRules:
    """How the content API behaves.

    `page` is the most entries of one page, whatever was asked for; `index_after` how often a file's state is asked for
    before it is indexed; files whose name has `unreadable` in it fail then. `upload_faults` by upload number, from 1:
    500, cut (the connection breaks), 400, hang, and 500_after and hang_after, which keep the file. `list_fault`:
    duplicates or endless. A vector store called after each of `stores` is there from the beginning. Raises UsageError
    for what makes no sense.
    """

    page: int = 100
    index_after: int = 2
    largest_file_bytes: int = 64 << 20
    upload_faults: Mapping[int, str] = field(default_factory=dict)
    list_fault: str | None = None
    stores: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every setting."""
        unknown = set(self.upload_faults.values()) - UPLOAD_FAULTS
        if unknown or self.list_fault not in {None, *LIST_FAULTS}:
            raise UsageError(f"unknown content fault: {sorted(unknown) or self.list_fault}")
        if self.page < 1 or self.index_after < 0:
            raise UsageError("content.page is at least 1, content.index_after at least 0")


@dataclass(slots=True)
class StoredFile:
    """An uploaded file, whole."""

    id: str
    name: str
    purpose: str
    content: bytes

    def shown(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        entry = {"id": self.id, "object": "file", "bytes": len(self.content), "created_at": 1_700_000_000}
        return {**entry, "filename": self.name, "purpose": self.purpose, "status": "processed"}


@dataclass(slots=True)
class StoreEntry:
    """A file in a vector store; it is indexed once its state was asked for `polls_left` more times."""

    file: StoredFile
    attributes: dict[str, Any]
    polls_left: int

    @property
    def status(self) -> str:
        """Say how far it is."""
        if self.polls_left > 0:
            return "in_progress"
        return "failed" if "unreadable" in self.file.name else "completed"

    def shown(self, store: str) -> dict[str, Any]:
        """Return it as the API shows it."""
        error = {"code": "unsupported_file", "message": "The file cannot be read."} if self.status == "failed" else None
        entry = {"id": self.file.id, "object": "vector_store.file", "created_at": 1_700_000_000}
        state = {"status": self.status, "last_error": error, "usage_bytes": len(self.file.content)}
        return {**entry, **state, "vector_store_id": store, "attributes": self.attributes}


@dataclass(slots=True)
class Store:
    """A vector store: its entries by file id, in the order in which they came."""

    id: str
    name: str
    entries: dict[str, StoreEntry] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        states = [entry.status for entry in self.entries.values()]
        counts = {state: states.count(state) for state in ("in_progress", "completed", "failed")}
        size = sum(len(entry.file.content) for entry in self.entries.values())
        known = {"id": self.id, "object": "vector_store", "created_at": 1_700_000_000, "name": self.name}
        return {**known, "file_counts": {**counts, "cancelled": 0, "total": len(states)}, "usage_bytes": size}


class Content:
    """All of it. `log` holds what was done, in order: ("upload", file id), ("attach", store id, file id), …."""

    def __init__(self, rules: ContentRules) -> None:
        self.rules = rules
        self.stores: dict[str, Store] = {}
        self.files: dict[str, StoredFile] = {}
        self.log: list[tuple[str, ...]] = []
        self._count = 0
        self.uploads = 0
        for name in rules.stores:
            self.add_store(name)

    def add_store(self, name: str) -> Store:
        """Make a vector store."""
        store = Store(self._next("vs"), name)
        self.stores[store.id] = store
        self.log.append(("create", store.id))
        return store

    def add_file(self, name: str, purpose: str, content: bytes) -> StoredFile:
        """Keep an uploaded file."""
        file = StoredFile(self._next("file"), name, purpose, content)
        self.files[file.id] = file
        self.log.append(("upload", file.id))
        return file

    def attach(self, store: Store, file: StoredFile, attributes: dict[str, Any]) -> StoreEntry:
        """Put a file into a vector store, or return its entry if it is there."""
        if file.id not in store.entries:
            store.entries[file.id] = StoreEntry(file, attributes, self.rules.index_after)
            self.log.append(("attach", store.id, file.id))
        return store.entries[file.id]

    def detach(self, store: Store, file: str) -> bool:
        """Take a file out of a vector store; false where it is not in it."""
        if store.entries.pop(file, None) is None:
            return False
        self.log.append(("detach", store.id, file))
        return True

    def drop_file(self, file: str) -> bool:
        """Delete a file, out of every vector store too; false where there is none."""
        if self.files.pop(file, None) is None:
            return False
        for store in self.stores.values():
            store.entries.pop(file, None)
        self.log.append(("delete", file))
        return True

    def done(self, what: str) -> int:
        """Return how often something was done."""
        return sum(entry[0] == what for entry in self.log)

    def contents(self, store: str) -> dict[str, str]:
        """Return the sha256 of each file of a vector store, by file id."""
        entries = self.stores[store].entries.items()
        return {identity: sha256(entry.file.content).hexdigest() for identity, entry in entries}

    def page_of(self, entries: Iterable[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
        """Return one page of a list, with the faults that lists have."""
        whole = list(entries)
        after = query.get("after")
        start = next((number + 1 for number, entry in enumerate(whole) if entry["id"] == after), 0)
        asked = query.get("limit", "20")
        size = min(int(asked) if asked.isdecimal() else 20, self.rules.page)
        page = whole[start : start + size]
        more = start + size < len(whole)
        if self.rules.list_fault == "endless":
            page, more = whole[:size], True
        if self.rules.list_fault == "duplicates":
            page = [one for entry in page for one in (entry, entry)]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return {"object": "list", "data": page, **ends, "has_more": more}

    def _next(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count:06d}"
