"""Owns what one attempt comes to on the wire: against the simulator's faults, and against sockets that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import socket
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from runner.endpoints import ENDPOINTS
from runner.errors import (
    BodyTooLargeError,
    ConnectError,
    DisconnectError,
    InvalidResponseError,
    RequestError,
    RequestTimeoutError,
    StaleConnectionError,
)
from runner.pipeline.sending.attempt import judge
from runner.redaction import Redactor
from runner.simulate import FaultDetails, FaultRules, SimulatorOptions, open_simulator
from runner.transport import Timeouts, TransportOptions, open_transport, request_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runner.simulate import Simulator
    from runner.transport import Transport

KEY = "sk-canary-5f2d1e"
PATH = "/chat/completions"
MIB = 1 << 20
DETAILS = FaultDetails(huge_bytes=3 * MIB, bomb_bytes=256 * MIB, drip_bytes=64, drip_interval_s=0.001)
OPTIONS = SimulatorOptions(fault_details=DETAILS)
Peer = "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"


def body(text: str = "Hello") -> bytes:
    return orjson.dumps({"model": "m", "messages": [{"role": "user", "content": text}]})


def marked(fault: str) -> bytes:
    return body(f"[[fault:{fault}]]")


def to(base_url: str, **changes: object) -> TransportOptions:
    return replace(TransportOptions(base_url, timeouts=Timeouts(connect=5, total=20)), **changes)  # type: ignore[arg-type] # a test's own fields


@asynccontextmanager
async def simulated(**changes: object) -> AsyncIterator[tuple[Simulator, Transport]]:
    async with open_simulator(OPTIONS) as simulator, open_transport(to(simulator.base_url, **changes)) as transport:
        yield simulator, transport


@asynccontextmanager
async def peer(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve `answer` on a free port; it ends with the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}/v1"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, await reader.readexactly(length)


def whole(content: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content


def always(reply: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Answer each request with these bytes, then close the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply)
        await writer.drain()

    return answer


async def fails(base_url: str, **changes: object) -> RequestError:
    """Send one POST that must fail, and return the error."""
    async with open_transport(to(base_url, **changes)) as transport:
        with pytest.raises(RequestError) as caught:
            await transport.post(PATH, body())
    return caught.value


# ---------------------------------------------------------------- what is sent and what comes back


@pytest.mark.asyncio
async def test_an_answer_comes_back_as_it_is() -> None:
    async with simulated() as (_, transport):
        response = await transport.post(PATH, body())
    assert response.http_status == 200
    assert orjson.loads(response.body)["object"] == "chat.completion"
    assert response.latency_s > 0
    assert response.started_at > 1_600_000_000


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["400", "401", "404", "429", "500", "502", "503", "529"])
async def test_any_status_is_a_response_and_no_error(fault: str) -> None:
    async with simulated() as (_, transport):
        response = await transport.post(PATH, marked(fault))
    assert response.http_status == int(fault)
    assert response.body


@pytest.mark.asyncio
async def test_the_key_goes_into_one_header_and_the_body_goes_out_byte_by_byte() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(whole(b"{}"))
        await writer.drain()

    sent = b'{"odd":  "spacing \xc3\xa9"}'
    async with (
        peer(answer) as base_url,
        open_transport(to(base_url, api_key=KEY, headers={"X-Team": "t"})) as transport,
    ):
        await transport.post(PATH, sent)
    ((head, received),) = seen
    assert received == sent
    assert head.count(KEY.encode()) == 1
    assert f"Authorization: Bearer {KEY}\r\n".encode() in head
    assert b"X-Team: t\r\n" in head
    assert b"Accept-Encoding: gzip\r\n" in head
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"cookie" not in head.lower()


@pytest.mark.asyncio
async def test_few_headers_are_kept_short_lower_case_and_without_the_key() -> None:
    headers = (
        f"X-Request-Id: id-{KEY}\r\nX-RateLimit-Remaining-Requests: 7\r\nRetry-After-Ms: 5\r\n"
        f"Set-Cookie: a=b\r\nServer: x\r\nX-Ratelimit-Long: {'9' * 500}\r\n"
    )
    async with peer(always(whole(b"{}", headers))) as base_url, open_transport(to(base_url, api_key=KEY)) as transport:
        response = await transport.post(PATH, body())
    assert response.headers == {
        "x-request-id": "id-[redacted]",
        "x-ratelimit-remaining-requests": "7",
        "retry-after-ms": "5",
        "x-ratelimit-long": "9" * 200,
    }
    assert request_id(response.headers) == "id-[redacted]"
    assert request_id({}) is None


@pytest.mark.asyncio
async def test_a_key_that_the_server_echoes_does_not_come_back() -> None:
    echo = orjson.dumps({"error": f"Incorrect API key provided: {KEY}"})
    async with peer(always(whole(echo))) as base_url, open_transport(to(base_url, api_key=KEY)) as transport:
        response = await transport.post(PATH, body())
    assert KEY.encode() not in response.body
    assert b"[redacted]" in response.body


@pytest.mark.asyncio
async def test_cookies_are_not_kept() -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            heads.append((await read_request(reader))[0])
            writer.write(whole(b"{}", "Set-Cookie: session=1\r\n"))

    async with peer(answer) as base_url, open_transport(to(base_url)) as transport:
        await transport.post(PATH, body())
        await transport.post(PATH, body())
    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()


# ---------------------------------------------------------------- kept-alive connections


@pytest.mark.asyncio
async def test_a_kept_alive_connection_that_the_server_closed_is_stale() -> None:
    async with simulated() as (simulator, transport):
        assert (await transport.post(PATH, marked("idle_close"))).http_status == 200
        with pytest.raises(StaleConnectionError, match="kept-alive"):
            await transport.post(PATH, body())
        assert simulator.statistics().requests == 1, "nobody read the second request"
        assert (await transport.post(PATH, body())).http_status == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["disconnect", "reset"])
async def test_the_first_request_of_a_connection_is_never_stale(fault: str) -> None:
    async with simulated() as (_, transport):
        for _ in range(2):
            with pytest.raises(DisconnectError):
                await transport.post(PATH, marked(fault))


@pytest.mark.asyncio
async def test_a_connection_that_was_closed_between_requests_costs_no_attempt() -> None:
    async with simulated() as (simulator, transport):
        answered = 0
        for _ in range(20):
            try:
                answered += (await transport.post(PATH, marked("keepalive_close"))).http_status == 200
            except StaleConnectionError:
                continue
        assert simulator.statistics().requests == answered >= 10


@pytest.mark.asyncio
async def test_a_reused_connection_that_breaks_within_the_answers_head_is_not_stale() -> None:
    """A byte of answer came: the request was read, and may have been billed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(whole(b"{}"))
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await writer.drain()

    async with peer(answer) as base_url, open_transport(to(base_url)) as transport:
        await transport.post(PATH, body())
        with pytest.raises(DisconnectError):
            await transport.post(PATH, body())


@pytest.mark.asyncio
async def test_a_reused_connection_that_breaks_within_the_body_is_not_stale() -> None:
    async with simulated() as (simulator, transport):
        await transport.post(PATH, body())
        for fault in ("cut", "cut_chunked"):
            with pytest.raises(DisconnectError):
                await transport.post(PATH, marked(fault))
            await transport.post(PATH, body())
        assert simulator.statistics().requests == 5


# ---------------------------------------------------------------- redirects


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["redirect_302", "redirect_307"])
async def test_a_redirect_is_never_followed(fault: str) -> None:
    async with open_simulator(SimulatorOptions()) as trap:
        target = f"{trap.base_url}{PATH}"
        options = replace(OPTIONS, fault_details=replace(DETAILS, redirect_url=target))
        async with open_simulator(options) as simulator, open_transport(to(simulator.base_url)) as transport:
            response = await transport.post(PATH, marked(fault))
        assert response.http_status == int(fault[-3:])
        assert response.headers["location"] == target
        assert trap.statistics().requests == 0


# ---------------------------------------------------------------- sizes


@pytest.mark.asyncio
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_above_the_cap_is_refused(chunked: bool) -> None:  # noqa: FBT001 - a case of the table
    content = b"x" * 1001

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        pieces = b"3e9\r\n" + content + b"\r\n0\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces if chunked else whole(content))
        await writer.drain()

    async with peer(answer) as base_url:
        error = await fails(base_url, max_body_bytes=1000)
        assert isinstance(error, BodyTooLargeError)
        assert "1,000 bytes" in error.message
        async with open_transport(to(base_url, max_body_bytes=1001)) as transport:
            assert (await transport.post(PATH, body())).body == content


@pytest.mark.asyncio
async def test_a_huge_promise_is_refused_before_it_is_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head)
        await reader.read()

    async with peer(answer) as base_url:
        assert isinstance(await fails(base_url), BodyTooLargeError)


@pytest.mark.asyncio
async def test_a_gzip_bomb_is_capped_with_bounded_memory() -> None:
    async with simulated(max_body_bytes=4 * MIB) as (_, transport):
        with pytest.raises(BodyTooLargeError):
            await transport.post(PATH, marked("gzip_bomb"))  # the simulator packs it now and remembers it
        tracemalloc.start()
        try:
            with pytest.raises(BodyTooLargeError):
                await transport.post(PATH, marked("gzip_bomb"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 64 * MIB


@pytest.mark.asyncio
async def test_a_packed_body_is_unpacked() -> None:
    content = orjson.dumps({"text": "word " * 1000})
    async with (
        peer(always(whole(gzip.compress(content), "Content-Encoding: gzip\r\n"))) as base_url,
        open_transport(to(base_url)) as transport,
    ):
        assert (await transport.post(PATH, body())).body == content


@pytest.mark.asyncio
async def test_a_giant_header_is_not_taken_for_the_servers_400() -> None:
    async with simulated() as (_, transport):
        with pytest.raises(DisconnectError, match="headers") as caught:
            await transport.post(PATH, marked("header_50k"))
    assert caught.value.http_status is None
    assert len(caught.value.message) < 600


# ---------------------------------------------------------------- cut bodies


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["cut", "cut_chunked"])
async def test_a_cut_body_is_never_accepted(fault: str) -> None:
    async with simulated() as (_, transport):
        with pytest.raises(DisconnectError, match="cut"):
            await transport.post(PATH, marked(fault))


@pytest.mark.asyncio
@pytest.mark.parametrize("missing", [1, 2, 7])
async def test_a_body_without_its_last_bytes_is_cut_whatever_its_framing(missing: int) -> None:
    content = b'{"choices":[]}' + b" " * 20
    framings = [
        whole(content)[:-missing],
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))[
            :-missing
        ],
    ]
    for reply in framings:
        async with peer(always(reply)) as base_url:
            assert isinstance(await fails(base_url), DisconnectError)


@pytest.mark.asyncio
async def test_a_cut_packed_body_is_never_taken_for_an_answer() -> None:
    content = orjson.dumps({"choices": [{"message": {"content": "word " * 500}}]}) + b" " * 5000
    packed = gzip.compress(content)
    for cut in (packed[:20], packed[: len(packed) // 2], packed[:-9], packed[:-1]):
        async with (
            peer(always(whole(cut, "Content-Encoding: gzip\r\n"))) as base_url,
            open_transport(to(base_url)) as transport,
        ):
            try:
                response = await transport.post(PATH, body())
            except DisconnectError:
                continue
        outcome = judge(ENDPOINTS["chat"], response, answered_before=True)
        assert isinstance(outcome.error, InvalidResponseError) or orjson.loads(response.body) == orjson.loads(content)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "reply",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnothex\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd",
        b"",
        b"HTTP/1.1 200 \xff\xfe\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 \xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\xff: \xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \xff\r\nContent-Length: \xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \xff\r\nTransfer-Encoding: chunked\r\n\r\n\xff\r\n",
    ],
)
async def test_what_is_no_http_is_an_error_of_ours(reply: bytes) -> None:
    async with peer(always(reply)) as base_url:
        error = await fails(base_url)
    assert isinstance(error, DisconnectError)
    error.message.encode("utf-8")  # it goes into the journal, which holds UTF-8


# ---------------------------------------------------------------- time-outs


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["hang", "drip"])
async def test_the_total_time_bounds_a_silent_and_a_dripping_server(fault: str) -> None:
    slow = replace(OPTIONS, fault_details=replace(DETAILS, drip_bytes=1, drip_interval_s=0.02))
    async with (
        open_simulator(slow) as simulator,
        open_transport(to(simulator.base_url, timeouts=Timeouts(connect=5, total=0.2))) as transport,
    ):
        with pytest.raises(RequestTimeoutError, match=r"within 0\.2 s") as caught:
            await transport.post(PATH, marked(fault))
    assert "timeout_s.total" in caught.value.hint


@pytest.mark.asyncio
async def test_a_connection_that_is_not_accepted_is_a_connect_error() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address), socket.socket() as waiting:
            waiting.setblocking(False)  # noqa: FBT003 - the socket module's signature
            waiting.connect_ex(address)
            error = await fails(f"http://127.0.0.1:{address[1]}/v1", timeouts=Timeouts(connect=0.2, total=5))
    assert isinstance(error, ConnectError)
    assert "timeout_s.connect" in error.hint


# ---------------------------------------------------------------- no connection


@pytest.mark.asyncio
async def test_a_refused_connection_is_a_connect_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await fails(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
    assert isinstance(error, ConnectError)
    assert "cannot connect" in error.message


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b.invalid", f"{'x' * 64}.invalid", "\u2603.invalid"])
async def test_a_name_that_does_not_resolve_is_a_connect_error(host: str) -> None:
    error = await fails(f"http://{host}/v1")
    assert isinstance(error, ConnectError)
    assert "model.base_url" in error.hint


@pytest.mark.asyncio
async def test_tls_to_a_plain_port_is_a_connect_error_that_says_so() -> None:
    async with open_simulator(OPTIONS) as simulator:
        error = await fails(simulator.base_url.replace("http:", "https:"))
    assert isinstance(error, ConnectError)
    assert "TLS" in error.message
    assert "https against http" in error.hint


@pytest.mark.asyncio
async def test_plain_http_to_a_tls_port_is_an_error_of_ours() -> None:
    async with peer(always(b"\x15\x03\x01\x00\x02\x02\x46")) as base_url:
        assert isinstance(await fails(base_url), DisconnectError)


# ---------------------------------------------------------------- secrets


@pytest.mark.asyncio
async def test_no_message_holds_a_query_or_the_key() -> None:
    replies = [
        b"",
        f"HTTP/1.1 200 OK\r\nX-Bad\x01: {KEY}\r\n\r\n".encode(),
        f"{KEY} is no status line\r\n\r\n".encode(),
        f"HTTP/1.1 200 {KEY}\r\nContent-Length: 99\r\n\r\ncut".encode(),
        f"HTTP/1.1 200 OK\r\nX-Long: {KEY * 3000}\r\n\r\n".encode(),
    ]
    for reply in replies:
        async with peer(always(reply)) as base_url:
            error = await _fails_with_secrets(base_url)
        assert isinstance(error, DisconnectError)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert isinstance(await _fails_with_secrets(f"http://127.0.0.1:{taken.getsockname()[1]}/v1"), ConnectError)
    assert isinstance(await _fails_with_secrets("http://no-such-host.invalid/v1"), ConnectError)


async def _fails_with_secrets(base_url: str) -> RequestError:
    options = to(base_url, api_key=KEY)
    async with open_transport(options, Redactor([KEY])) as transport:
        with pytest.raises(RequestError) as caught:
            await transport.post(f"{PATH}?token=query-canary", body())
    shown = f"{caught.value} {caught.value.message} {caught.value.hint} {caught.value!r}"
    assert KEY not in shown
    assert "query-canary" not in shown
    assert KEY not in repr(options)
    return caught.value


@pytest.mark.asyncio
async def test_a_scripted_server_that_fails_once_is_met_once() -> None:
    """One call is one request: whether to send again is decided elsewhere."""
    options = replace(OPTIONS, faults=FaultRules(script={1: "disconnect", 2: "500"}))
    async with open_simulator(options) as simulator, open_transport(to(simulator.base_url)) as transport:
        with pytest.raises(DisconnectError):
            await transport.post(PATH, body())
        assert (await transport.post(PATH, body())).http_status == 500
        assert simulator.statistics().requests == 2


@pytest.mark.asyncio
async def test_get_reads_the_models() -> None:
    async with simulated() as (_, transport):
        response = await transport.get("/models")
    assert (response.http_status, orjson.loads(response.body)["object"]) == (200, "list")
