"""Owns which knowledge base and which documents a user means: by id, else by a name that only one of them has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.content.api import ContentApi, Document, KnowledgeBase

_SHOWN = 10


async def choose_knowledge_base(api: ContentApi, wanted: str) -> KnowledgeBase | None:
    """Return the knowledge base of this id or name; null where there is none. Raises UsageError where several are."""
    by_id = await api.find(wanted) if wanted.strip(".") else None
    if by_id is not None:
        return by_id
    named = [one for one in await api.knowledge_bases() if one.name == wanted]
    if len(named) > 1:
        ids = ", ".join(one.id for one in named[:_SHOWN])
        raise UsageError(f"{len(named)} knowledge bases are called '{wanted}'", hint=f"name one by its id: {ids}")
    return named[0] if named else None


async def unknown_knowledge_base(api: ContentApi, wanted: str) -> UsageError:
    """Return the error for a knowledge base that is not there; it names those that are."""
    known = await api.knowledge_bases()
    shown = ", ".join(f"{one.name} ({one.id})" if one.name else one.id for one in known[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    hint = f"there are: {shown}{more}" if known else "the server has none; `documents add --create` makes one"
    return UsageError(f"no knowledge base has the id or name '{wanted}'", hint=hint)


def choose_documents(documents: Sequence[Document], wanted: Sequence[str]) -> list[Document]:
    """Return the documents of these ids or names, each once. Raises UsageError for names that none or several have."""
    chosen: dict[str, Document] = {}
    problems = []
    for name in dict.fromkeys(wanted):
        found = [one for one in documents if one.id == name] or [one for one in documents if one.name == name]
        if len(found) == 1:
            chosen[found[0].id] = found[0]
        elif found:
            ids = ", ".join(one.id for one in found[:_SHOWN])
            problems.append(f"{len(found)} documents are called '{name}'; name one by its id: {ids}")
        else:
            problems.append(f"no document has the id or name '{name}'")
    if problems:
        raise UsageError("\n".join(problems), hint="nothing was deleted; `documents list` shows ids and names")
    return list(chosen.values())
