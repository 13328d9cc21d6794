"""Owns deleting documents: out of the knowledge base, and the files themselves where this program put them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runner.content.api import ContentApi, Document


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a document: `result` is deleted, detached (its file is someone else's and stays) or gone."""

    id: str
    name: str | None
    result: str


def removal_of(document: Document) -> str:
    """Return what deleting a document does: a file without this program's mark may be used elsewhere."""
    return "deleted" if document.sha256 is not None else "detached"


async def remove_documents(
    api: ContentApi, knowledge_base: str, documents: Sequence[Document]
) -> AsyncIterator[Removal]:
    """Delete documents one after the other, and say of each what was done. Doing it again changes nothing."""
    for document in documents:
        was_there = await api.detach(knowledge_base, document.id)
        result = removal_of(document)
        if result == "deleted":
            was_there |= await api.discard(document.id)
        yield Removal(document.id, document.name, result if was_there else "gone")
