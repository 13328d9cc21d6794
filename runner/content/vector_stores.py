"""Owns OpenAI's content API: a knowledge base is a vector store, a document a file in it.

Shapes: OpenAI API reference, "Vector stores", "Vector store files" and "Files". The store's entry for a file carries
attributes: this program writes name, sha256, size and the file's id there, so that what is in a store can be told from
the store alone, and searches can be narrowed down by name or id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.content.api import FAILED, PENDING, READY, Document, KnowledgeBase
from runner.content.calls import id_of, segment
from runner.endpoints.retrieval import FILE_ATTRIBUTE, NAME_ATTRIBUTE
from runner.errors import InvalidResponseError, RequestError

if TYPE_CHECKING:
    from runner.content.api import Label
    from runner.content.calls import Caller
    from runner.transport import Upload

PURPOSE = "assistants"

_SHA256, _SIZE = "sha256", "size_bytes"
_PAGE = {"limit": "100", "order": "asc"}
# What servers answer for an id they do not know; some check its form first.
_NO_SUCH_ID = frozenset({400, 404, 422})
_LONGEST_ERROR = 300
_LONGEST_VALUE = 512


class VectorStores:
    """The content of a server that speaks OpenAI's API."""

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
        files = {id_of(file): file for file in await self._caller.pages("/files", {**_PAGE, "purpose": PURPOSE})}
        return [_document(entry, files.get(id_of(entry))) for entry in entries]

    async def document(self, knowledge_base: str, document: str) -> Document:
        """Return one file of a vector store as it is now."""
        entry = await self._caller.get(f"{_store(knowledge_base)}/files/{segment(document)}")
        return _document({**entry, "id": document})

    async def upload(self, upload: Upload) -> str:
        """Send a file and return its id."""
        return _id_or_error(await self._caller.upload("/files", upload), "the uploaded file")

    async def attach(self, knowledge_base: str, file: str, label: Label) -> Document:
        """Put an uploaded file into a vector store, which begins to index it."""
        name = label.name[:_LONGEST_VALUE]
        attributes = {NAME_ATTRIBUTE: name, FILE_ATTRIBUTE: file, _SHA256: label.sha256, _SIZE: label.size_bytes}
        body = {"file_id": file, "attributes": attributes}
        entry = await self._caller.post(f"{_store(knowledge_base)}/files", body)
        return _document({**entry, "id": file, "attributes": attributes})

    async def detach(self, knowledge_base: str, document: str) -> bool:
        """Take a file out of a vector store; false where it was not in it any more."""
        return await self._caller.delete(f"{_store(knowledge_base)}/files/{segment(document)}")

    async def discard(self, file: str) -> bool:
        """Delete a file; false where there was none any more."""
        return await self._caller.delete(f"/files/{segment(file)}")


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
        status=status if isinstance(status, str) and status in (READY, PENDING, FAILED, "cancelled") else PENDING,
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
