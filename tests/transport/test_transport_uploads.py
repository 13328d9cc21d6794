"""Files on the wire: what arrives, how much of it is held, and what ends an upload early."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from email.parser import BytesParser
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from runner.errors import DisconnectError, RequestError
from runner.transport import TransportOptions, Upload, open_transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

KEY = "sk-planted-0123456789"
BLOCK = 64 * 1024


@asynccontextmanager
async def serving(respond: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    server = web.Server(respond, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    finally:
        listener.close()
        await server.shutdown(1)


def upload_of(blocks: list[bytes], name: str = "a.txt") -> Upload:
    async def read() -> AsyncGenerator[bytes]:
        for block in blocks:
            yield block

    return Upload({"purpose": "assistants"}, name, sum(map(len, blocks)), read)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["a.txt", 'x"; filename="y', "line\r\nbreak", "ünï 文.pdf", "half \udc80"])
async def test_what_arrives_is_one_form_with_a_stated_length(name: str) -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((dict(request.headers), await request.read()))
        return web.json_response({"id": "f1", "echo": KEY})

    async with (
        serving(respond) as base_url,
        open_transport(TransportOptions(base_url, api_key=KEY)) as transport,
    ):
        response = await transport.upload("/files", upload_of([b"one\r\n", b"\x00two--"], name))
    ((headers, body),) = seen
    assert (response.http_status, KEY.encode() in response.body) == (200, False)
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert "Transfer-Encoding" not in headers
    assert int(headers["Content-Length"]) == len(body)
    form = BytesParser().parsebytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
    purpose, file = form.get_payload()
    assert purpose.get_payload(decode=True) == b"assistants"
    assert file.get_payload(decode=True) == b"one\r\n\x00two--"
    assert [part.get_param("name", header="content-disposition") for part in (purpose, file)] == ["purpose", "file"]


@pytest.mark.asyncio
async def test_no_more_is_read_than_the_server_takes() -> None:
    """A server that does not read: what is held is what sockets hold, not the file."""
    read_blocks = 0
    whole = 4096

    async def read() -> AsyncGenerator[bytes]:
        nonlocal read_blocks
        for _ in range(whole):
            read_blocks += 1
            yield b"x" * BLOCK

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serving(respond) as base_url, open_transport(TransportOptions(base_url)) as transport:
        with pytest.raises(RequestError):
            await transport.upload("/files", Upload({}, "big", whole * BLOCK, read))
    assert read_blocks < whole // 4


@pytest.mark.asyncio
async def test_what_reading_raises_is_raised_and_nothing_arrives_whole() -> None:
    came: list[bytes] = []

    async def read() -> AsyncGenerator[bytes]:
        yield b"x" * 10
        raise LookupError("the file is gone")

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        came.append(await request.read())
        return web.Response()

    async with serving(respond) as base_url, open_transport(TransportOptions(base_url)) as transport:
        with pytest.raises(LookupError, match="the file is gone"):
            await transport.upload("/files", Upload({}, "a", 20, read))
    assert came == []


@pytest.mark.asyncio
async def test_an_answer_before_the_end_is_an_answer() -> None:
    async def respond(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=413, body=b'{"error":{"message":"too large"}}')

    async with serving(respond) as base_url, open_transport(TransportOptions(base_url)) as transport:
        response = await transport.upload("/files", upload_of([b"x" * 100]))
    assert response.http_status == 413


@pytest.mark.asyncio
async def test_a_connection_that_breaks_says_so_without_the_key() -> None:
    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        await request.content.read(1)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    options = TransportOptions
    async with serving(respond) as base_url, open_transport(options(base_url, api_key=KEY)) as transport:
        with pytest.raises(DisconnectError) as told:
            await transport.upload("/files", upload_of([b"x" * BLOCK] * 10))
    assert KEY not in told.value.message


@pytest.mark.asyncio
async def test_a_delete_is_one() -> None:
    seen: list[tuple[str, str]] = []

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.method, request.path))
        return web.json_response({"deleted": True})

    async with serving(respond) as base_url, open_transport(TransportOptions(base_url)) as transport:
        assert (await transport.delete("/files/f1")).http_status == 200
    assert seen == [("DELETE", "/v1/files/f1")]
