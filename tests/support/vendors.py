"""Owns a server that notes all of a request (method, path, query, headers, body) and answers as a test says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from tests.support.odd_server import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came; `number` counts from 1, header names are lower case."""

    number: int
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class Vendor:
    """A running server: its root, and all it has seen."""

    root: str = ""
    seen: list[Seen] = field(default_factory=list)

    @property
    def bodies(self) -> list[Any]:
        """Every body that came."""
        return [one.body for one in self.seen]


Answer: TypeAlias = "Callable[[Seen], Reply]"


def says(value: Any, status: int = 200, **headers: str) -> Reply:
    """Return an answer with a JSON body."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, orjson.dumps(value), {"Content-Type": "application/json", **named})


@contextmanager
def vendor(answer: Answer) -> Iterator[Vendor]:
    """Serve for the length of the context, in a thread."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(_serve(answer)) as running,
    ):
        yield running


@asynccontextmanager
async def _serve(answer: Answer) -> AsyncIterator[Vendor]:
    running = Vendor()

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = orjson.loads(raw) if raw else None
        path = request.rel_url.raw_path
        seen = Seen(len(running.seen) + 1, request.method, path, list(request.query.items()), headers, body)
        running.seen.append(seen)
        reply = answer(seen)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    server = web.Server(respond, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    running.root = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield running
    finally:
        listener.close()
        await server.shutdown(1)
