"""Owns a RAG server of a shape of its own: shelves of papers, asked about with sources; it keeps books of its work."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson
from aiohttp import BodyPartReader, web
from anyio.from_thread import start_blocking_portal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# How the server is described: a cursor for pages, metadata for the hash, three words for how far a paper is.
ADAPTER: dict[str, Any] = {
    "name": "library",
    "endpoints": ["chat"],
    "path": "/shelves/{{ retrieval.knowledge_base }}/ask",
    "auth": {"type": "header", "name": "x-library-card"},
    "body": {"question": "{{ messages[-1].content }}", "only": "{{ retrieval.documents }}"},
    "response": {
        "text": "said",
        "retrieved": {"list": "sources", "rank": "place", "id": "ref", "score": "fit", "text": "passage"},
    },
    "errors": {"code": "fault.code", "message": "fault.text", "by_code": {"shelf_full": "quota"}},
    "documents": {
        "list": {
            "path": "/shelves/{{ knowledge_base }}/papers",
            "query": {"size": "2", "from": "{{ cursor }}"},
            "items": "papers",
            "next": "more_from",
        },
        "get": {"path": "/shelves/{{ knowledge_base }}/papers/{{ id }}", "item": "paper"},
        "add": {
            "path": "/shelves/{{ knowledge_base }}/papers",
            "file": "scan",
            "fields": {"title": "{{ name }}", "checksum": "{{ sha256 }}"},
            "item": "paper",
        },
        "delete": {"path": "/shelves/{{ knowledge_base }}/papers/{{ id }}"},
        "document": {
            "id": "ref",
            "name": "title",
            "sha256": "labels.checksum",
            "size_bytes": "bytes",
            "created_at": "since",
            "status": "state",
            "states": {"shelved": "completed", "binding": "in_progress", "torn": "failed"},
            "error": "why",
        },
        "knowledge_bases": {
            "list": {"path": "/shelves", "items": "shelves"},
            "create": {"path": "/shelves", "body": {"title": "{{ name }}"}, "item": "shelf"},
            "id": "key",
            "name": "title",
            "documents": "papers",
        },
    },
}


@dataclass(slots=True)
class Paper:
    """A paper: its labels as they came, its content, and how often it is shown before it is ready."""

    ref: str
    title: str
    checksum: str
    content: bytes
    polls_left: int
    state: str = "binding"

    def shown(self) -> dict[str, Any]:
        """The paper as the server tells of it, once more."""
        self.polls_left -= 1
        if self.polls_left < 0 and self.state == "binding":
            self.state = "shelved"
        why = "the pages are torn" if self.state == "torn" else None
        return {
            "ref": self.ref,
            "title": self.title,
            "labels": {"checksum": self.checksum},
            "bytes": len(self.content),
            "since": "2026-11-22T08:00:00+00:00",
            "state": self.state,
            "why": why,
        }


@dataclass(slots=True)
class Library:
    """The running server. `log` has each change; `kept` is set once a paper came.

    `faults` are by number of upload: 500, 500_after, cut_after, 413, full.
    """

    root: str = ""
    card: str | None = None
    polls: int = 1
    faults: dict[int, str] = field(default_factory=dict)
    endless: bool = False
    shelves: dict[str, dict[str, Paper]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    uploads: int = 0
    pages: int = 0
    cards: set[str] = field(default_factory=set)
    kept: threading.Event = field(default_factory=threading.Event)

    def contents(self, key: str) -> list[str]:
        """The hashes of what really is on a shelf, duplicates included."""
        return sorted(sha256(paper.content).hexdigest() for paper in self.shelves[key].values())

    def new_shelf(self, title: str) -> str:
        """Put up a shelf and return its key."""
        key = f"shelf {len(self.shelves) + 1}/a"
        self.shelves[key], self.titles[key] = {}, title
        return key

    def put(self, key: str, title: str, content: bytes, checksum: str = "") -> Paper:
        """Put a paper on a shelf."""
        paper = Paper(f"{len(self.log) + 1}:{title[:3]}", title, checksum, content, self.polls)
        self.shelves[key][paper.ref] = paper
        self.log.append(f"put {title}")
        self.kept.set()
        return paper


@contextmanager
def library(**settings: Any) -> Iterator[Library]:
    """Serve for the length of the context, in a thread."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(_serve(Library(**settings))) as running,
    ):
        yield running


@asynccontextmanager
async def _serve(running: Library) -> AsyncIterator[Library]:
    server = web.Server(lambda request: _respond(running, request), access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    running.root = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield running
    finally:
        listener.close()
        await server.shutdown(1)


async def _respond(running: Library, request: web.BaseRequest) -> web.StreamResponse:
    card = request.headers.get("x-library-card", "")
    running.cards.add(card)
    if running.card not in (None, card):
        return _says({"fault": {"code": "card", "text": f"no such card: {card}"}}, 401)
    parts = [unquote(part) for part in request.rel_url.raw_path.strip("/").split("/")]
    if parts == ["shelves"]:
        return await _shelves(running, request)
    key = parts[1]
    if key not in running.shelves:
        return _says({"fault": {"code": "nothing", "text": f"no shelf {key}"}}, 404)
    if parts[2:] == ["ask"]:
        return await _ask(running, request, key)
    if parts[2:] == ["papers"]:
        return await (_add(running, request, key) if request.method == "POST" else _papers(running, request, key))
    return _paper(running, request, key, parts[3])


async def _shelves(running: Library, request: web.BaseRequest) -> web.Response:
    if request.method == "POST":
        key = running.new_shelf(orjson.loads(await request.read())["title"])
        running.log.append(f"shelf {running.titles[key]}")
        return _says({"shelf": {"key": key, "title": running.titles[key]}}, 201)
    shelves = [{"key": key, "title": running.titles[key], "papers": len(held)} for key, held in running.shelves.items()]
    return _says({"shelves": shelves})


async def _papers(running: Library, request: web.BaseRequest, key: str) -> web.Response:
    running.pages += 1
    papers = list(running.shelves[key].values())
    size, start = int(request.query["size"]), int(request.query.get("from", 0))
    more = start + size if start + size < len(papers) else None
    shown = [paper.shown() for paper in papers[start : start + size]]
    return _says({"papers": shown, "more_from": f"{start}" if running.endless and start else more})


async def _add(running: Library, request: web.BaseRequest, key: str) -> web.Response:
    running.uploads += 1
    fault = running.faults.get(running.uploads)
    form: dict[str, bytes] = {}
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        form[part.name or ""] = bytes(await part.read())
    if fault in ("500", "413"):
        return _says({"fault": {"code": "broken", "text": "as the test says"}}, int(fault))
    if fault == "full":
        return _says({"fault": {"code": "shelf_full", "text": "no room is left"}}, 400)
    paper = running.put(key, form["title"].decode(), form["scan"], form["checksum"].decode())
    if b"\x00" in paper.content:
        paper.state = "torn"
    if fault == "cut_after" and request.transport is not None:
        request.transport.abort()
    if fault == "500_after":
        return _says({"fault": {"code": "broken", "text": "after it was kept"}}, 500)
    return _says({"paper": paper.shown()}, 202)


def _paper(running: Library, request: web.BaseRequest, key: str, ref: str) -> web.Response:
    paper = running.shelves[key].get(ref)
    if paper is None:
        return _says({"fault": {"code": "nothing", "text": f"no paper {ref}"}}, 404)
    if request.method == "DELETE":
        del running.shelves[key][ref]
        running.log.append(f"drop {paper.title}")
        return web.Response(status=204)
    return _says({"paper": paper.shown()})


async def _ask(running: Library, request: web.BaseRequest, key: str) -> web.Response:
    body = orjson.loads(await request.read())
    running.asked.append(body)
    asked = set(re.findall(r"\w+", body["question"].lower()))
    found = []
    for paper in running.shelves[key].values():
        text, only = paper.content.decode("utf-8", "replace"), body.get("only")
        common = len(asked & set(re.findall(r"\w+", text.lower())))
        if common and (only is None or paper.title in only):
            found.append({"ref": paper.ref, "fit": common / len(asked), "passage": text})
    found.sort(key=lambda one: -float(str(one["fit"])))
    return _says({"said": f"{len(found)} papers", "sources": [{**one, "place": at} for at, one in enumerate(found, 1)]})


def _says(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
