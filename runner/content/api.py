"""Owns what a content API is: a few functions over knowledge bases and documents, whatever the server calls them.

A further kind of server is one class with these functions; the jobs over them (`adding`, `removing`) stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

READY, PENDING, FAILED, CANCELLED = "completed", "in_progress", "failed", "cancelled"


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


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be added: its label, and what opens its bytes anew, exactly as many as the label says."""

    label: Label
    blocks: Callable[[], AsyncGenerator[bytes]]


class ContentApi(Protocol):
    """A server's content. Every function that asks the server raises RequestError once retries are used up."""

    @property
    def sole(self) -> KnowledgeBase | None:
        """The one knowledge base of a server that has no others; null where they are told apart by id."""
        ...

    async def knowledge_bases(self) -> list[KnowledgeBase]:
        """Return all of them. Raises UsageError where the server cannot tell."""
        ...

    async def find(self, knowledge_base: str) -> KnowledgeBase | None:
        """Return the one with this id; null where there is none."""
        ...

    async def create(self, name: str) -> KnowledgeBase:
        """Make a new one. Raises UsageError where the server has no way to."""
        ...

    async def documents(self, knowledge_base: str) -> list[Document]:
        """Return all documents of one."""
        ...

    async def states(self, knowledge_base: str, documents: Sequence[str]) -> list[Document]:
        """Return documents as they are now; those that the server does not show yet may be left out."""
        ...

    def check_adding(self) -> None:
        """Raise UsageError where the server has no way to add documents."""
        ...

    async def add(self, knowledge_base: str, source: Source) -> Document:
        """Send a file and make it a document. What ends in between leaves nothing that a search can find.

        Raises FileError or TemplateError for a file that cannot be sent.
        """
        ...

    async def index_again(self, knowledge_base: str, document: str, source: Source) -> Document:
        """Have a document indexed that the server failed to index. Raises as `add` does."""
        ...

    async def settle(self, knowledge_base: str) -> None:
        """Tell the server that all was added, where it waits to be told."""
        ...

    def removal_of(self, document: Document) -> str:
        """Return what removing a document does: it is deleted, or only detached from its knowledge base.

        Raises UsageError where the server has no way to remove it.
        """
        ...

    async def remove(self, knowledge_base: str, document: Document) -> bool:
        """Remove a document; false where it was not there any more."""
        ...
