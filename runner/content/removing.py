"""Owns deleting documents out of a knowledge base, one after the other."""

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


async def remove_documents(
    api: ContentApi, knowledge_base: str, documents: Sequence[Document]
) -> AsyncIterator[Removal]:
    """Delete documents one after the other, and say of each what was done. Doing it again changes nothing."""
    for document in documents:
        was_there = await api.remove(knowledge_base, document)
        yield Removal(document.id, document.name, api.removal_of(document) if was_there else "gone")
