"""Owns OpenAI's content API: a knowledge base is a vector store, a document a file in it.

Shapes: OpenAI API reference, "Vector stores", "Vector store files" and "Files". The store's entry for a file carries
attributes: this program writes name, sha256, size and the file's id there, so that what is in a store can be told from
the store alone, and searches can be narrowed down by name or id.

A file is uploaded first, and belongs to the store, with its hash, from the second request on. What ends in between is
taken back; only a process that is killed right there leaves a file behind, which no search can find.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import anyio

from runner.content.api import CANCELLED, FAILED, PENDING, READY, Document, KnowledgeBase
from runner.content.calls import id_of, segment
from runner.endpoints.retrieval import FILE_ATTRIBUTE, NAME_ATTRIBUTE
from runner.errors import InvalidResponseError, RequestError
from runner.transport import Upload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.content.api import Label, Source
    from runner.content.calls import Caller

_PURPOSE = "assistants"
_TAKING_BACK_S = 10.0
_SHA256, _SIZE = "sha256", "size_bytes"
_PAGE = {"limit": "100", "order": "asc"}
# What servers answer for an id they do not know; some check its form first.
_NO_SUCH_ID = frozenset({400, 404, 422})
_LONGEST_ERROR = 300
_LONGEST_VALUE = 512


class VectorStores:
    """The content of a server that speaks OpenAI's API."""

    sole: KnowledgeBase | None = None

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def knowledge_bases(self) -> list[KnowledgeBase]:
        """Return all vector stores."""
        return [_knowledge_base(entry) for entry in await self._caller.pages("/vector_stores", _PAGE)]

    async def find(self, knowledge_base: str) -> KnowledgeBase | None:
        """Return the vector store with this id; null where there is none."""
        try:
            found = await self._caller.get(_store(knowledge_base))
        except RequestError as error:
            if error.http_status in _NO_SUCH_ID:
                return None
            raise
        return _knowledge_base({**found, "id": knowledge_base})

    async def create(self, name: str) -> KnowledgeBase:
        """Make a new vector store."""
        made = await self._caller.post_once("/vector_stores", {"name": name})
        _id_or_error(made, "the new vector store")
        return _knowledge_base(made)

    async def documents(self, knowledge_base: str) -> list[Document]:
        """Return all files of a vector store; the names of files that others put there come from the file list."""
        entries = await self._caller.pages(f"{_store(knowledge_base)}/files", _PAGE)
        documents = [_document(entry) for entry in entries]
        if all(document.name is not None for document in documents):
            return documents
        files = {id_of(file): file for file in await self._caller.pages("/files", {**_PAGE, "purpose": _PURPOSE})}
        return [_document(entry, files.get(id_of(entry))) for entry in entries]

    async def states(self, knowledge_base: str, documents: Sequence[str]) -> list[Document]:
        """Return files of a vector store as they are now."""
        store = _store(knowledge_base)
        entries = [(one, await self._caller.get(f"{store}/files/{segment(one)}")) for one in documents]
        return [_document({**entry, "id": one}) for one, entry in entries]

    def check_adding(self) -> None:
        """Do nothing: files can always be added."""

    async def add(self, knowledge_base: str, source: Source) -> Document:
        """Upload a file and put it into a vector store, which begins to index it."""
        name, size = PurePosixPath(source.label.name).name, source.label.size_bytes
        sent = await self._caller.upload("/files", Upload({"purpose": _PURPOSE}, name, size, source.blocks))
        file, attached = _id_or_error(sent, "the uploaded file"), None
        try:
            attached = await self._attach(knowledge_base, file, source.label)
        finally:
            if attached is None:
                with anyio.move_on_after(_TAKING_BACK_S, shield=True):
                    await self._take_back(file)
        return attached

    async def index_again(self, knowledge_base: str, document: str, source: Source) -> Document:
        """Put a file into a vector store anew; it is not uploaded again."""
        await self._detach(knowledge_base, document)
        return await self._attach(knowledge_base, document, source.label)

    async def settle(self, knowledge_base: str) -> None:
        """Do nothing: each file is indexed as it comes."""

    def removal_of(self, document: Document) -> str:
        """Return what removing a document does: a file without this program's mark may be used elsewhere."""
        return "deleted" if document.sha256 is not None else "detached"

    async def remove(self, knowledge_base: str, document: Document) -> bool:
        """Take a file out of a vector store, and delete it where this program put it there."""
        was_there = await self._detach(knowledge_base, document.id)
        if self.removal_of(document) == "deleted":
            was_there |= await self._caller.delete(f"/files/{segment(document.id)}")
        return was_there

    async def _attach(self, knowledge_base: str, file: str, label: Label) -> Document:
        name = label.name[:_LONGEST_VALUE]
        attributes = {NAME_ATTRIBUTE: name, FILE_ATTRIBUTE: file, _SHA256: label.sha256, _SIZE: label.size_bytes}
        body = {"file_id": file, "attributes": attributes}
        entry = await self._caller.post(f"{_store(knowledge_base)}/files", body)
        return _document({**entry, "id": file, "attributes": attributes})

    async def _detach(self, knowledge_base: str, file: str) -> bool:
        return await self._caller.delete(f"{_store(knowledge_base)}/files/{segment(file)}")

    async def _take_back(self, file: str) -> None:
        try:
            await self._caller.delete(f"/files/{segment(file)}")
        except RequestError:
            return  # the error that led here is the one to tell


def _store(identity: str) -> str:
    return f"/vector_stores/{segment(identity)}"


def _knowledge_base(entry: dict[str, Any]) -> KnowledgeBase:
    counts = entry.get("file_counts")
    total = counts.get("total") if isinstance(counts, dict) else None
    return KnowledgeBase(str(entry["id"]), _text(entry.get("name")), _count(total), _count(entry.get("usage_bytes")))


def _document(entry: dict[str, Any], file: dict[str, Any] | None = None) -> Document:
    attributes = entry.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    file = file or {}
    status, problem = entry.get("status"), entry.get("last_error")
    message = problem.get("message") if isinstance(problem, dict) else None
    return Document(
        id=str(entry["id"]),
        status=status if isinstance(status, str) and status in (READY, PENDING, FAILED, CANCELLED) else PENDING,
        name=_text(attributes.get(NAME_ATTRIBUTE)) or _text(file.get("filename")),
        size_bytes=_count(attributes.get(_SIZE)) or _count(file.get("bytes")),
        sha256=_text(attributes.get(_SHA256)),
        created_at=_count(entry.get("created_at")),
        error=message[:_LONGEST_ERROR] if isinstance(message, str) else None,
    )


def _id_or_error(entry: dict[str, Any], what: str) -> str:
    identity = id_of(entry)
    if identity is None:
        raise InvalidResponseError(f"the server's answer names no id for {what}")
    return identity


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    return number if type(number) is int and 0 <= number < 2**63 else None
