"""Owns the content API of a server with a format of its own: what `documents` in an adapter says, carried out.

A document is known again by the SHA-256 of its content, which `documents.document.sha256` finds in an item of the list:
in metadata, in the id or in the name. A name and a size alone never decide, since another version may have both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from runner.content.api import KnowledgeBase
from runner.content.calls import NOT_THERE, NOTHING_DONE
from runner.content.described import compile_request
from runner.content.items import BaseReader, DocumentReader
from runner.content.listing import Listing
from runner.content.local import FileError
from runner.content.sending import Adding
from runner.endpoints.found import find_in, itself
from runner.errors import InvalidResponseError, RequestError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.content.api import Document, Source
    from runner.content.calls import Caller
    from runner.content.described import Described
    from runner.endpoints.adapter import Adapter
    from runner.records import Response

_T = TypeVar("_T")


class AdaptedContent:
    """The content of a server that an adapter describes. Besides what `ContentApi` says, all raise TemplateError."""

    def __init__(self, caller: Caller, adapter: Adapter, model: str) -> None:
        spec: dict[str, Any] = adapter.spec["documents"]
        bases: dict[str, Any] | None = spec["knowledge_bases"]
        self._caller = caller
        self._name = adapter.name
        self._context = {"model": model}
        self._document = DocumentReader(spec["document"])
        self._list = Listing(caller, spec["list"], ("documents", "list"))
        self._add = None if spec["add"] is None else Adding(spec["add"])
        self._get, self._delete, self._index = (_request(spec, "documents", key) for key in ("get", "delete", "index"))
        self._got = find_in(spec["get"] or {}, "item", itself)
        self._base = BaseReader(bases or {})
        where = ("documents", "knowledge_bases", "list")
        self._bases = Listing(caller, bases["list"], where) if bases and bases["list"] else None
        self._create = _request(bases or {}, "documents", "knowledge_bases", "create")
        self._created = find_in((bases or {}).get("create") or {}, "item", itself)
        parts = (self._list, self._add, self._get, self._delete, self._index)
        named = any("knowledge_base" in part.reads for part in parts if part is not None)
        self.sole = None if named else KnowledgeBase(self._name)

    async def knowledge_bases(self) -> list[KnowledgeBase]:
        """Return all of them. Raises UsageError where the adapter does not say how they are listed."""
        listing = self._required(self._bases, "knowledge_bases.list", "--knowledge-base KB names one")
        items = await listing.read(self._context, self._base.id)
        return [self._base.read(item, identity) for identity, item in items.items()]

    async def find(self, knowledge_base: str) -> KnowledgeBase | None:
        """Return the one with this id; where they cannot be listed, any name is taken for one."""
        if self.sole is not None:
            message = f"the adapter {self._name} knows one collection of documents, which has no name"
            raise UsageError(message, hint="leave --knowledge-base out")
        if self._bases is None:
            return KnowledgeBase(knowledge_base)
        return next((one for one in await self.knowledge_bases() if one.id == knowledge_base), None)

    async def create(self, name: str) -> KnowledgeBase:
        """Make a new one. Raises UsageError where the adapter does not say how."""
        method, path, body = self._required(self._create, "knowledge_bases.create").fill(
            {**self._context, "name": name}
        )
        made = await self._caller.repeated(
            lambda transport: transport.send(method, path, body), self._caller.value, only_after=NOTHING_DONE
        )
        item = self._created(made)
        identity = self._base.id(item)
        if identity is None:
            raise InvalidResponseError("documents.knowledge_bases.create: the answer names no id for the new one")
        return self._base.read(item, identity)

    async def documents(self, knowledge_base: str) -> list[Document]:
        """Return all documents of one."""
        items = await self._list.read(self._of(knowledge_base), self._document.id)
        return [self._document.read(item, identity) for identity, item in items.items()]

    async def states(self, knowledge_base: str, documents: Sequence[str]) -> list[Document]:
        """Return documents as they are now: each asked for, or all out of one list."""
        if self._get is None:
            wanted = set(documents)
            return [one for one in await self.documents(knowledge_base) if one.id in wanted]
        found = []
        for identity in documents:
            answer = await self._caller.ask(*self._get.fill(self._of(knowledge_base, id=identity)))
            found.append(self._document.read(self._got(answer), identity))
        return found

    def check_adding(self) -> None:
        """Raise UsageError where the adapter does not say how documents are added."""
        self._required(self._add, "add")

    async def add(self, knowledge_base: str, source: Source) -> Document:
        """Send a file. Where no answer says what became of it, the list does, before it is sent again."""
        adding, label = self._required(self._add, "add"), source.label
        context = self._of(knowledge_base, name=label.name, sha256=label.sha256, size_bytes=label.size_bytes)
        given = adding.given_id(context)

        def read(response: Response) -> Document | None:
            item = adding.item(self._caller.said(response))
            identity = given or self._document.id(item)
            return None if identity is None else self._document.read(item, identity)

        async def held() -> Document | None:
            found = await self.documents(knowledge_base)
            return next((one for one in found if one.sha256 == label.sha256), None)

        send = await adding.prepare(context, source)
        document = await self._caller.repeated(send, read, unless=held) or await held()
        if document is None:
            message = "documents.add: neither the answer nor the list names the new document"
            raise InvalidResponseError(message, hint="documents.add.item or documents.add.id says which id it has")
        return replace(document, name=label.name, size_bytes=label.size_bytes, sha256=label.sha256)

    async def index_again(self, knowledge_base: str, document: str, source: Source) -> Document:
        """Delete a document and add it anew. Raises FileError where the adapter does not say how one is deleted."""
        if self._delete is None:
            raise FileError(f"{source.label.name}: {document} was not indexed, and the adapter has no documents.delete")
        await self._remove(knowledge_base, document, source.label.name)
        return await self.add(knowledge_base, source)

    async def settle(self, knowledge_base: str) -> None:
        """Send `documents.index`, if there is one."""
        if self._index is not None:
            await self._caller.tell(*self._index.fill(self._of(knowledge_base)))

    def removal_of(self, document: Document) -> str:  # noqa: ARG002 - it goes for good, whoever put it there
        """Return what removing a document does. Raises UsageError where the adapter does not say how."""
        self._required(self._delete, "delete")
        return "deleted"

    async def remove(self, knowledge_base: str, document: Document) -> bool:
        """Delete a document; false where it was not there any more."""
        return await self._remove(knowledge_base, document.id, document.name)

    async def _remove(self, knowledge_base: str, identity: str, name: str | None) -> bool:
        request = self._required(self._delete, "delete")
        try:
            await self._caller.tell(*request.fill(self._of(knowledge_base, id=identity, name=name)))
        except RequestError as error:
            if error.http_status in NOT_THERE:
                return False
            raise
        return True

    def _of(self, knowledge_base: str, **more: Any) -> dict[str, Any]:
        return {**self._context, "knowledge_base": knowledge_base, **more}

    def _required(self, part: _T | None, key: str, hint: str = "") -> _T:
        if part is None:
            message = f"the adapter {self._name} has no documents.{key}, which says how this server does that"
            raise UsageError(message, hint=hint)
        return part


def _request(spec: dict[str, Any], *where: str) -> Described | None:
    values = spec.get(where[-1])
    return None if values is None else compile_request(values, where)
