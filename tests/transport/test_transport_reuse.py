"""Owns the short way over a connection that is open: it must come to what the session's way comes to."""

from __future__ import annotations

import asyncio
import gzip
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest

from runner.errors import DisconnectError, RequestError
from runner.records import Response
from runner.transport import Timeouts, open_transport
from runner.transport.reuse import Reuse, supported
from tests.transport.test_transport_wire import KEY, PATH, body, peer, read_request, to, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runner.transport import Transport

    Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

NO_END = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
CUT_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n{"
SMALL_GZIP = gzip.compress(b"[]")
BOMB = gzip.compress(b" " * (8 << 20))
CAP = 1 << 20

WHOLE = {
    "plain": whole(b'{"a": 1}'),
    "chunked": CHUNKED,
    "compressed": whole(SMALL_GZIP, "Content-Encoding: gzip\r\n"),
    "of another status": b"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\nRetry-After: 1\r\n\r\n{}",
    "without a body": b"HTTP/1.1 204 No Content\r\n\r\n",
    "after a hint": b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + whole(b"{}"),
    "with the key in it": whole(b'"' + KEY.encode() + b'"', f"X-Request-Id: {KEY}\r\n"),
    "until the end of the connection": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
    "a redirect": b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
}
BROKEN = {
    "cut body": NO_END,
    "cut chunks": CUT_CHUNKS,
    "cut head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no HTTP": b"SMTP ready\r\n\r\n",
    "header too long": whole(b"{}", f"X-Long: {'x' * 9000}\r\n"),
    "too large, stated": f"HTTP/1.1 200 OK\r\nContent-Length: {CAP + 1}\r\n\r\n".encode(),
    "too large, unpacked": whole(BOMB, "Content-Encoding: gzip\r\n"),
}


def scripted(*replies: bytes | None, heads: list[bytes] | None = None) -> Answer:
    """Answer the requests of one connection one after the other; null never answers. Then it is closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            head, _ = await read_request(reader)
            if heads is not None:
                heads.append(head)
            if reply is None:
                await asyncio.sleep(60)
            writer.write(reply or b"")
            await writer.drain()

    return answer


@asynccontextmanager
async def opened(answer: Answer, **changes: object) -> AsyncIterator[Transport]:
    async with peer(answer) as base_url, open_transport(to(base_url, api_key=KEY, **changes)) as transport:
        yield transport


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Say of each POST whether it went over a connection that was open."""
    found: list[bool] = []
    post = Reuse.post

    async def noted(self: Reuse, url: object, content: bytes) -> object:
        try:
            answer = await post(self, url, content)  # type: ignore[arg-type] # passed on
        except BaseException:
            found.append(True)
            raise
        found.append(answer is not None)
        return answer

    monkeypatch.setattr(Reuse, "post", noted)
    return found


def test_the_installed_aiohttp_is_one_it_was_tested_with() -> None:
    assert supported()


@pytest.mark.asyncio
async def test_every_request_has_the_same_head(used: list[bool]) -> None:
    heads: list[bytes] = []
    answers = [whole(b"{}")] * 3
    async with opened(scripted(*answers, heads=heads), headers={"X-Team": "t"}) as transport:
        for _ in answers:
            await transport.post(PATH, body())
        assert used == [False, True, True]
    assert heads[0] == heads[1] == heads[2]
    assert f"Authorization: Bearer {KEY}\r\n".encode() in heads[1]


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", WHOLE.values(), ids=WHOLE)
async def test_an_answer_is_the_same_both_ways(reply: bytes, used: list[bool]) -> None:
    async with opened(scripted(reply)) as transport:
        first = await transport.post(PATH, body())
    async with opened(scripted(whole(b"{}"), reply)) as transport:
        await transport.post(PATH, body())
        second = await transport.post(PATH, body())
    assert used == [False, False, True]
    assert (second.http_status, second.headers, second.body) == (first.http_status, first.headers, first.body)
    assert second.latency_s > 0


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
async def test_a_failure_is_the_same_both_ways(reply: bytes, used: list[bool]) -> None:
    caught: list[RequestError] = []
    for script in (scripted(reply), scripted(whole(b"{}"), reply)):
        async with opened(script, max_body_bytes=CAP) as transport:
            if caught:
                await transport.post(PATH, body())
            with pytest.raises(RequestError) as error:
                await transport.post(PATH, body())
            caught.append(error.value)
            idle = transport._session.connector._conns  # type: ignore[union-attr] # it is open
            assert not idle
    assert used == [False, False, True]
    first, second = caught
    assert type(second) is type(first)
    assert second.message.partition("/v1")[2] == first.message.partition("/v1")[2]


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", [None, NO_END + b" " * 50], ids=["nothing", "part of the body"])
async def test_an_answer_that_does_not_end_is_given_up(reply: bytes | None, used: list[bool]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(whole(b"{}"))
        await read_request(reader)
        writer.write(reply or b"")
        await asyncio.sleep(60)

    async with opened(answer, timeouts=Timeouts(connect=5, total=0.2)) as transport:
        await transport.post(PATH, body())
        with pytest.raises(RequestError, match=r"no complete answer within 0\.2 s"):
            await transport.post(PATH, body())
    assert used == [False, True]


@pytest.mark.asyncio
async def test_each_request_has_its_own_deadline() -> None:
    """The timer of the first serves the others, and what ended in time is left alone."""
    slow = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, content = await read_request(reader)
            if b"slow" in content:
                await slow.wait()
            writer.write(whole(content))

    async with opened(answer, timeouts=Timeouts(connect=5, total=0.3)) as transport:
        async with anyio.create_task_group() as group:  # two connections, both idle afterwards
            for _ in range(2):
                group.start_soon(transport.post, PATH, body())
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def late() -> None:
                    with pytest.raises(RequestError, match="no complete answer"):
                        await transport.post(PATH, body("slow"))
                    scope.cancel()

                group.start_soon(late)
                while True:
                    assert (await transport.post(PATH, body("quick"))).http_status == 200
        slow.set()
        assert (await transport.post(PATH, body("slow"))).body == body("slow")


@pytest.mark.asyncio
async def test_an_answer_says_when_its_request_was_written(used: list[bool]) -> None:
    """Requests of one turn of the event loop are written at its end: what others do in it is not the server's time."""
    at: list[float] = []

    async def hold_up() -> None:
        time.sleep(0.05)  # noqa: ASYNC251 - the loop is to be held up
        at.append(time.time())

    async with opened(scripted(whole(b"{}"), whole(b"[]"))) as transport:
        await transport.post(PATH, body())
        sending = asyncio.create_task(transport.post(PATH, body()))
        holding = asyncio.create_task(hold_up())
        response = await sending
        await holding
    assert used == [False, True]
    assert response.started_at >= at[0]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "unasked", [b"HTTP/1.1 408 Gone\r\nContent-Length: 2\r\n\r\n{}", b"{}"], ids=["answer", "body"]
)
@pytest.mark.parametrize("padding", ["", "x" * 100_000], ids=["small", "large"])
async def test_what_a_server_says_unasked_is_no_answer(unasked: bytes, padding: str, used: list[bool]) -> None:
    """Taken for the answer to the next request it would give each later row that of the row before."""
    said = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, content = await read_request(reader)
        writer.write(whole(content))
        if not said.is_set():
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(unasked)
            await writer.drain()
            said.set()
        while True:
            _, content = await read_request(reader)
            writer.write(whole(content))

    async with opened(answer) as transport:
        await transport.post(PATH, body("0"))
        await said.wait()
        await asyncio.sleep(0.05)
        for number in range(1, 4):
            sent = body(f"{number}{padding}")
            response = await transport.post(PATH, sent)
            assert response.body == sent
            assert 0 < response.latency_s < 60
    assert used == [False, False, not padding, not padding]


@pytest.mark.asyncio
async def test_many_requests_of_one_turn_each_get_their_own_answer(used: list[bool]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, content = await read_request(reader)
            writer.write(whole(content))

    async with opened(answer) as transport:
        for _ in range(2):
            responses = await asyncio.gather(*(transport.post(PATH, body(str(number))) for number in range(32)))
            assert [one.body for one in responses] == [body(str(number)) for number in range(32)]
    assert used == [False] * 32 + [True] * 32


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", WHOLE.values(), ids=WHOLE)
async def test_an_answer_in_many_pieces_is_the_same(reply: bytes, used: list[bool]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for wanted in (whole(b"{}"), reply):
            await read_request(reader)
            for place in range(len(wanted)):
                writer.write(wanted[place : place + 1])
                await writer.drain()
                await asyncio.sleep(0)

    async with opened(scripted(reply)) as transport:
        first = await transport.post(PATH, body())
    async with opened(answer) as transport:
        await transport.post(PATH, body())
        second = await transport.post(PATH, body())
    assert used == [False, False, True]
    assert (second.http_status, second.headers, second.body) == (first.http_status, first.headers, first.body)


@pytest.mark.asyncio
async def test_a_request_that_cannot_be_written_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, content = await read_request(reader)
            writer.write(whole(content))

    def refuse(_: bytes) -> None:
        raise RuntimeError("no room")

    async with opened(answer) as transport:
        await asyncio.gather(*(transport.post(PATH, body(str(number))) for number in range(3)))
        ((first, *_),) = transport._session.connector._conns.values()  # type: ignore[union-attr] # it is open
        monkeypatch.setattr(first[0].transport, "write", refuse)
        broken, *others = await asyncio.gather(
            *(transport.post(PATH, body(str(number))) for number in range(3)), return_exceptions=True
        )
        assert isinstance(broken, DisconnectError)
        assert "no room" in broken.message
        assert [one.body for one in others if isinstance(one, Response)] == [body("1"), body("2")]
        assert (await transport.post(PATH, body("again"))).body == body("again")


@pytest.mark.asyncio
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "compressed"])
@pytest.mark.parametrize("size", [10, 100_000, 300_000, 520_000, 530_000, 600_000, 1_000_000, 5_000_000])
async def test_a_body_of_any_size_leaves_its_connection_as_good_as_new(
    size: int, pack: Callable[[bytes], bytes], used: list[bool]
) -> None:
    sent = b"x" * size
    reply = whole(pack(sent), "Content-Encoding: gzip\r\n" if pack is gzip.compress else "")
    async with opened(scripted(*[reply] * 4)) as transport:
        for _ in range(4):
            with anyio.fail_after(5):
                assert (await transport.post(PATH, body())).body == sent
        ((kept,),) = transport._session.connector._conns.values()  # type: ignore[union-attr] # it is open
        payload = kept[0]._payload
        assert payload is not None
        assert not payload._buffer
    assert used == [False, True, True, True]


@pytest.mark.asyncio
async def test_a_request_that_is_cancelled_closes_its_connection() -> None:
    begun = asyncio.Event()
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(whole(b"{}"))
        await read_request(reader)
        begun.set()
        assert await reader.read() == b""
        closed.set()

    async with opened(answer) as transport:
        await transport.post(PATH, body())
        async with anyio.create_task_group() as group:
            group.start_soon(transport.post, PATH, body())
            await begun.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(5):
            await closed.wait()


@pytest.mark.asyncio
async def test_a_large_body_and_another_version_go_the_sessions_way(
    used: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(scripted(whole(b"{}"), whole(b"[]"))) as transport:
        await transport.post(PATH, body())
        assert (await transport.post(PATH, body("x" * 100_000))).body == b"[]"
    assert used == [False, False]
    monkeypatch.setattr(aiohttp, "__version__", "3.99.0")
    async with opened(scripted(whole(b"{}"), whole(b"[]"))) as transport:
        for expected in (b"{}", b"[]"):
            assert (await transport.post(PATH, body())).body == expected
    assert used == [False, False]
