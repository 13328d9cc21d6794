"""Owns servers that the simulator is not: whatever a test makes of a request, sent as it is."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
from aiohttp import web
from anyio.from_thread import start_blocking_portal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came: its number from 1, its key, its JSON body, path and headers, its last message's text."""

    number: int
    key: str
    body: dict[str, Any]
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The last message."""
        text: str = self.body["messages"][-1]["content"]
        return text


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send. `head`, if given, goes out in place of everything, byte for byte, and the connection closes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    head: bytes = b""


class Gone(Exception):  # noqa: N818 - no error: the test asks for it
    """Raised by a test's answer: the server goes away, listener and connections."""


Answer: TypeAlias = "Callable[[Call], Reply]"


def completion(text: str) -> Reply:
    """Return the smallest chat completion."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    return Reply(body=orjson.dumps(body), headers={"Content-Type": "application/json"})


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Serve for the length of the context, in a thread; yield the base URL."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(_serve(answer)) as base_url,
    ):
        yield base_url


@asynccontextmanager
async def _serve(answer: Answer) -> AsyncIterator[str]:
    calls = 0

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            body = orjson.loads(await request.read() or b"{}")
            reply = answer(Call(calls, key, body, request.path, dict(request.headers)))
        except Gone:
            listener.close()
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            return web.Response()
        if reply.head and request.transport is not None:
            transport = request.transport
            assert isinstance(transport, asyncio.Transport)
            transport.write(reply.head)
            transport.close()
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    server = web.Server(respond, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    finally:
        listener.close()
        await server.shutdown(1)
