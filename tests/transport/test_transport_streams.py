"""Owns what one streamed attempt comes to on the wire: time-outs by name, breaks, caps, and what had come by then."""

from __future__ import annotations

import asyncio
import gzip
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from runner.endpoints import CHAT_STREAM, ENDPOINTS
from runner.errors import (
    BodyTooLargeError,
    ConnectError,
    DisconnectError,
    RequestTimeoutError,
    StaleConnectionError,
)
from runner.pipeline.sending.attempt import send
from runner.records import Request
from runner.simulate import SimulatorOptions, open_simulator
from runner.transport import Timeouts, TransportOptions, open_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from runner.pipeline.sending.attempt import Outcome
    from runner.transport import Received

    Meeting = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

KEY = "sk-canary-5f2d1e"
PATH = "/chat/completions"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
START = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
QUICK = Timeouts(connect=5, first_byte=5, idle=5, total=20)


def asked(text: str = "Hello") -> bytes:
    return CHAT_STREAM.ask(orjson.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}))


def block(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def peer(meet: Meeting) -> AsyncIterator[str]:
    """Serve on a free port, each connection in a task of its own; all of it ends with the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await meet(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}/v1"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(*blocks: bytes, then: str = "close") -> Meeting:
    """Answer each request of a connection with these bytes; then close, or say nothing for ever."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        for one in blocks:
            writer.write(one)
            await writer.drain()
        if then == "hang":
            await asyncio.Event().wait()

    return meet


async def stream(meet: Meeting, timeouts: Timeouts = QUICK, *, cap: int = 1 << 20) -> Received:
    async with peer(meet) as base_url:
        options = TransportOptions(base_url, api_key=KEY, timeouts=timeouts, max_body_bytes=cap)
        async with open_transport(options) as transport:
            return await transport.stream(PATH, asked(), CHAT_STREAM.open())


async def attempt(meet: Meeting, timeouts: Timeouts = QUICK) -> Outcome:
    """Send and judge, as a run does."""
    async with peer(meet) as base_url:
        options = TransportOptions(base_url, api_key=KEY, timeouts=timeouts, max_body_bytes=1 << 20)
        async with open_transport(options) as transport:
            request = Request(b"k" * 16, PATH, asked(), (), 1, 1, stream=True)
            return await send(transport, ENDPOINTS["chat"], request, answered_before=True)


# ---------------------------------------------------------------- whole streams


@pytest.mark.asyncio
async def test_a_stream_comes_back_byte_by_byte_with_the_time_of_its_first_output() -> None:
    received = await stream(saying(HEAD, block(b": ping\n\n"), block(START), block(STOP), block(DONE), END))
    response = received.response
    assert (response.body, response.http_status, received.broke) == (b": ping\n\n" + START + STOP + DONE, 200, None)
    assert response.first_token_s is not None
    assert 0 < response.first_token_s <= response.latency_s


@pytest.mark.asyncio
async def test_output_in_no_block_has_no_time() -> None:
    received = await stream(saying(HEAD, block(STOP + DONE), END))
    assert received.response.first_token_s is None


@pytest.mark.asyncio
async def test_the_request_asks_that_nothing_be_packed_and_carries_the_key() -> None:
    heads = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await saying_rest(reader, writer)

    async def saying_rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(asked()))
        writer.write(HEAD + block(START + STOP + DONE) + END)
        await writer.drain()

    await stream(meet)
    assert b"\r\nAccept-Encoding: identity\r\n" in heads[0]
    assert f"\r\nAuthorization: Bearer {KEY}\r\n".encode() in heads[0]


@pytest.mark.asyncio
async def test_a_packed_stream_is_unpacked_as_it_comes() -> None:
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    outcome = await attempt(saying(head, block(gzip.compress(START + STOP + DONE)), END))
    assert outcome.error is None
    assert outcome.response is not None
    assert outcome.response.body == START + STOP + DONE


@pytest.mark.asyncio
@pytest.mark.parametrize("framing", [b"Content-Length: 42\r\n", b"Transfer-Encoding: chunked\r\n", b""])
async def test_a_server_that_does_not_stream_is_taken_as_it_is(framing: bytes) -> None:
    plain = b'{"choices":[{"message":{"content":"Hi"}}]}'
    assert len(plain) == 42
    content = block(plain) + END if b"chunked" in framing else plain
    outcome = await attempt(saying(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + content))
    assert (outcome.error, outcome.response and outcome.response.first_token_s) == (None, None)
    assert outcome.response is not None
    assert outcome.response.body == plain


@pytest.mark.asyncio
async def test_a_stream_without_framing_ends_with_its_connection() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    assert (await attempt(saying(head, START + STOP))).error is None
    assert isinstance((await attempt(saying(head, START))).error, DisconnectError)


@pytest.mark.asyncio
@pytest.mark.parametrize("then", ["hang", "close"])
async def test_after_the_end_mark_nothing_can_be_missing(then: str) -> None:
    """The body never ends, or breaks: the answer is whole, and is there when its mark is."""
    outcome = await attempt(saying(HEAD, block(START), block(DONE), then=then))
    assert outcome.error is None
    assert outcome.response is not None
    assert outcome.response.body == START + DONE


@pytest.mark.asyncio
async def test_the_wait_behind_the_end_mark_is_not_the_answers_time() -> None:
    begun = time.perf_counter()
    received = await stream(saying(HEAD, block(START + STOP + DONE), then="hang"), replace(QUICK, idle=0.5))
    assert isinstance(received.broke, RequestTimeoutError)
    assert time.perf_counter() - begun - received.response.latency_s >= 0.49


# ---------------------------------------------------------------- time-outs


@pytest.mark.asyncio
@pytest.mark.parametrize("said", [(), (HEAD,)])
async def test_a_first_byte_that_does_not_come_is_missed_by_name(said: tuple[bytes, ...]) -> None:
    outcome = await attempt(saying(*said, then="hang"), replace(QUICK, first_byte=0.2))
    assert isinstance(outcome.error, RequestTimeoutError)
    assert outcome.error.message.endswith("no first byte within 0.2 s")
    assert outcome.error.hint == "request.timeout_s.first_byte sets the wait"
    assert outcome.response is None


@pytest.mark.asyncio
async def test_a_silence_in_the_middle_is_called_idle_and_what_came_is_kept() -> None:
    outcome = await attempt(saying(HEAD, block(START), then="hang"), replace(QUICK, idle=0.2))
    assert isinstance(outcome.error, RequestTimeoutError)
    assert outcome.error.message.endswith("nothing came for 0.2 s in the middle of the answer")
    assert outcome.error.hint == "request.timeout_s.idle sets the wait"
    assert outcome.response is not None
    assert outcome.response.body == START


@pytest.mark.asyncio
async def test_the_first_byte_may_be_waited_for_longer_than_any_other() -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        writer.write(HEAD + block(START + STOP + DONE) + END)

    received = await stream(meet, replace(QUICK, idle=0.1))
    assert received.broke is None
    assert received.response.first_token_s is not None
    assert received.response.first_token_s >= 0.29


@pytest.mark.asyncio
async def test_the_total_time_bounds_a_server_that_only_says_it_is_there() -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        while True:
            writer.write(block(b": ping\n\n"))
            await writer.drain()
            await asyncio.sleep(0.01)

    outcome = await attempt(meet, Timeouts(connect=5, first_byte=5, idle=5, total=0.5))
    assert isinstance(outcome.error, RequestTimeoutError)
    assert outcome.error.message.endswith("no complete answer within 0.5 s")
    assert outcome.response is not None
    assert outcome.response.first_token_s is None


@pytest.mark.asyncio
async def test_the_clock_of_a_stream_does_not_outlive_it() -> None:
    """Connections are made for other requests of the same task afterwards."""
    head = HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with peer(saying(head, block(START + STOP + DONE), END)) as base_url:
        options = TransportOptions(base_url, timeouts=QUICK)
        async with open_transport(options) as transport:
            for _ in range(3):
                assert (await transport.stream(PATH, asked(), CHAT_STREAM.open())).broke is None
                assert (await transport.post(PATH, asked())).body == START + STOP + DONE


@pytest.mark.asyncio
async def test_waiting_for_a_connection_is_no_wait_for_the_first_byte() -> None:
    options = TransportOptions("http://127.0.0.1:9/v1", timeouts=replace(QUICK, first_byte=0.001))
    async with open_transport(options) as transport:
        with pytest.raises(ConnectError):
            await transport.stream(PATH, asked(), CHAT_STREAM.open())


@pytest.mark.asyncio
async def test_a_cancelled_stream_is_cancelled() -> None:
    reached = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + block(START))
        reached.set()
        await asyncio.Event().wait()

    streaming = asyncio.create_task(stream(meet))
    await reached.wait()
    streaming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await streaming


# ---------------------------------------------------------------- what breaks, and what is too much


def cuts() -> Iterable[int]:
    whole = len(HEAD + block(START) + block(STOP) + block(DONE) + END)
    return range(len(HEAD), whole)


@pytest.mark.asyncio
async def test_a_stream_that_is_cut_anywhere_before_its_end_mark_is_never_an_answer() -> None:
    whole = HEAD + block(START) + block(STOP) + block(DONE) + END
    marked = whole.index(b"[DONE]") + len(b"[DONE]")
    for place in cuts():
        outcome = await attempt(saying(whole[:place]))
        if place < marked:
            assert isinstance(outcome.error, DisconnectError), place
        else:
            assert outcome.error is None, place


@pytest.mark.asyncio
async def test_without_an_end_mark_the_body_has_to_end_by_its_framing() -> None:
    whole = HEAD + block(START) + block(STOP) + END
    assert (await attempt(saying(whole))).error is None
    for missing in range(1, len(END) + 1):
        assert isinstance((await attempt(saying(whole[:-missing]))).error, DisconnectError)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_stream_above_the_cap_is_refused(size: int) -> None:
    line = b": " + b"x" * size + b"\n\n"

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        while True:
            writer.write(block(line) * 100)
            await writer.drain()

    with pytest.raises(BodyTooLargeError):
        await stream(meet, cap=50_000)


@pytest.mark.asyncio
async def test_a_packed_stream_is_capped_as_unpacked() -> None:
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    with pytest.raises(BodyTooLargeError):
        await stream(saying(head, block(gzip.compress(b": " + b"x" * (32 << 20))), END))


@pytest.mark.asyncio
async def test_a_kept_alive_connection_that_closed_is_stale_for_a_stream_too() -> None:
    async with (
        open_simulator(SimulatorOptions()) as simulator,
        open_transport(TransportOptions(simulator.base_url, timeouts=QUICK)) as transport,
    ):
        assert (await transport.stream(PATH, asked("[[fault:idle_close]]"), CHAT_STREAM.open())).broke is None
        with pytest.raises(StaleConnectionError):
            await transport.stream(PATH, asked(), CHAT_STREAM.open())


@pytest.mark.asyncio
async def test_a_connection_serves_stream_after_stream() -> None:
    ports = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports.add(writer.get_extra_info("peername"))
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            writer.write(HEAD + block(START + STOP + DONE) + END)

    async with peer(meet) as base_url, open_transport(TransportOptions(base_url, timeouts=QUICK)) as transport:
        for _ in range(3):
            assert (await transport.stream(PATH, asked(), CHAT_STREAM.open())).broke is None
    assert len(ports) == 1


@pytest.mark.asyncio
async def test_a_key_within_a_chunk_is_cut_out_of_the_body() -> None:
    said = START.replace(b"Hello", KEY.encode())
    received = await stream(saying(HEAD, block(said + STOP + DONE), END))
    assert received.response.body == said.replace(KEY.encode(), b"[redacted]") + STOP + DONE


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("end", [STOP + DONE, b"", b'data: {"error":{"message":"sk-canary-5f2d1e"}}\n\n'])
async def test_a_key_in_pieces_is_nowhere_in_what_is_kept(size: int, end: bytes) -> None:
    pieces = [KEY[place : place + size].encode() for place in range(0, len(KEY), size)]
    content = b"".join(START.replace(b"Hello", one) for one in pieces)
    outcome = await attempt(saying(HEAD, block(content + end), END))
    assert outcome.response is not None
    assert orjson.loads(outcome.response.body)["choices"][0]["message"]["content"] == "[redacted]"
    assert KEY not in (outcome.error.message if outcome.error else "")
    assert (outcome.error is None) == (end == STOP + DONE)
