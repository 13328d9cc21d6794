"""Owns what a content API is: a few functions over knowledge bases and documents, whatever the server calls them.

A further kind of server is one class with these functions; the jobs over them (`adding`, `removing`) stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from runner.transport import Upload

READY, PENDING, FAILED = "completed", "in_progress", "failed"


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A collection of documents; null where the server does not say."""

    id: str
    name: str | None = None
    documents: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a knowledge base.

    `status` is completed (it can be found), in_progress, failed or cancelled; `error` says why it failed. `sha256` is
    that of its content where this program put it there. Null where the server does not say.
    """

    id: str
    status: str
    name: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    created_at: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """What a document is known by in its knowledge base, beside its id."""

    name: str
    sha256: str
    size_bytes: int


class ContentApi(Protocol):
    """A server's content. Every function raises RequestError once retries are used up."""

    async def knowledge_bases(self) -> list[KnowledgeBase]:
        """Return all of them."""
        ...

    async def find(self, knowledge_base: str) -> KnowledgeBase | None:
        """Return the one with this id; null where there is none."""
        ...

    async def create(self, name: str) -> KnowledgeBase:
        """Make a new one."""
        ...

    async def documents(self, knowledge_base: str) -> list[Document]:
        """Return all documents of one."""
        ...

    async def document(self, knowledge_base: str, document: str) -> Document:
        """Return one document as it is now."""
        ...

    async def upload(self, upload: Upload) -> str:
        """Send a file and return its id. It belongs to no knowledge base yet."""
        ...

    async def attach(self, knowledge_base: str, file: str, label: Label) -> Document:
        """Make an uploaded file a document of a knowledge base. Doing it again changes nothing."""
        ...

    async def detach(self, knowledge_base: str, document: str) -> bool:
        """Take a document out of its knowledge base; false where it was not in it any more."""
        ...

    async def discard(self, file: str) -> bool:
        """Delete an uploaded file; false where there was none any more."""
        ...
