from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from runner.simulate import FaultDetails, FaultRules, SimulatorOptions, open_simulator
from runner.simulate.failures import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.simulate import Simulator

MARKED = b'{"model":"m","messages":[{"role":"user","content":"[[fault:%s]]"}]}'
PLAIN = b'{"model":"m","messages":[{"role":"user","content":"Hello"}]}'
DETAILS = FaultDetails(huge_bytes=3_000_000, bomb_bytes=3_000_000, drip_bytes=100, drip_interval_s=0.0, stall_s=3600.0)
OPTIONS = SimulatorOptions(fault_details=DETAILS)


async def until(fact: Callable[[], bool]) -> None:
    while not fact():  # noqa: ASYNC110 - the server sets no event for what a test waits for
        await asyncio.sleep(0)


async def meet(session: aiohttp.ClientSession, simulator: Simulator, kind: str, **more: Any) -> tuple[int, bytes, Any]:
    url = f"{simulator.base_url}/chat/completions"
    async with session.post(url, data=MARKED % kind.encode(), allow_redirects=False, **more) as response:
        return response.status, await response.read(), response.headers


def send(writer: asyncio.StreamWriter, kind: str) -> None:
    body = MARKED % kind.encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str) -> tuple[bytes, bytes]:
    """Send a request by hand; return head and body of the reply, the body as long as Content-Length says."""
    send(writer, kind)
    found = await reader.readuntil(b"\r\n\r\n")
    length = int(found.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return found, await reader.readexactly(length)


async def connect(simulator: Simulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = simulator.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    return await asyncio.open_connection(host, int(port))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset", aiohttp.ClientOSError),
        ("disconnect", aiohttp.ServerDisconnectedError),
        ("cut", aiohttp.ClientPayloadError),
        ("cut_chunked", aiohttp.ClientPayloadError),
    ],
)
async def test_broken_connections_are_errors_to_the_client_and_no_answers(kind: str, error: type[Exception]) -> None:
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession() as session:
        with pytest.raises(error) as caught:
            await meet(session, simulator, kind)
        assert (kind == "reset") is (getattr(caught.value, "errno", None) == errno.ECONNRESET)
        (entry,) = simulator.ledger.entries()
        sent = 200 if kind.startswith("cut") else None
        assert (entry.status, entry.fault, entry.completed, entry.answered) == (sent, kind, False, False)
        assert (await meet(session, simulator, "bom"))[0] == 200


@pytest.mark.asyncio
async def test_hang_holds_the_request_until_the_client_goes() -> None:
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession() as session:
        hanging = asyncio.create_task(meet(session, simulator, "hang"))
        await until(lambda: simulator.statistics().in_flight == 1)
        assert (await meet(session, simulator, "reasoning"))[0] == 200
        assert not hanging.done()
        hanging.cancel()
        await until(lambda: simulator.statistics().in_flight == 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [MARKED, MARKED[:-1] + b',"stream":true}'])
async def test_a_stall_is_silence_and_then_the_whole_answer(body: bytes) -> None:
    options = replace(OPTIONS, fault_details=replace(DETAILS, stall_s=0.001))
    async with open_simulator(options) as simulator, aiohttp.ClientSession() as session:
        async with session.post(f"{simulator.base_url}/chat/completions", data=body % b"stall") as response:
            content = await response.read()
        assert (response.status, content.endswith(b"data: [DONE]\n\n")) == (200, b"stream" in body)
        assert simulator.statistics().answered == 1


@pytest.mark.asyncio
async def test_nothing_is_heard_of_a_stalled_answer() -> None:
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession() as session:
        stalled = asyncio.create_task(meet(session, simulator, "stall"))
        await until(lambda: simulator.statistics().in_flight == 1)
        assert (await meet(session, simulator, "reasoning"))[0] == 200
        assert (stalled.done(), simulator.statistics().answered) == (False, 1)
        stalled.cancel()
        await until(lambda: simulator.statistics().in_flight == 0)


@pytest.mark.asyncio
async def test_drip_brings_the_whole_answer_in_the_end() -> None:
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession() as session:
        status, body, _ = await meet(session, simulator, "drip")
        assert (status, orjson.loads(body)["object"]) == (200, "chat.completion")
        assert simulator.statistics().answered == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1, 100, 1_000_000])
async def test_drip_loses_no_byte_at_any_size(size: int) -> None:
    options = replace(OPTIONS, fault_details=replace(DETAILS, drip_bytes=size))
    async with open_simulator(options) as simulator, aiohttp.ClientSession() as session:
        assert orjson.loads((await meet(session, simulator, "drip"))[1])["choices"]


@pytest.mark.asyncio
async def test_a_drip_is_no_answer_before_its_last_byte() -> None:
    options = replace(OPTIONS, fault_details=replace(DETAILS, drip_interval_s=3600.0))
    async with open_simulator(options) as simulator:
        reader, writer = await connect(simulator)
        send(writer, "drip")
        await reader.readuntil(b"\r\n\r\n")
        assert (await reader.readexactly(100)).startswith(b'{"id":')
        assert simulator.statistics().answered == 0
        assert simulator.statistics().by_status == {200: 1}
        writer.close()


@pytest.mark.asyncio
async def test_keepalive_close_promises_to_stay_and_goes() -> None:
    async with open_simulator(OPTIONS) as simulator:
        reader, writer = await connect(simulator)
        head, body = await exchange(reader, writer, "keepalive_close")
        assert b"connection: close" not in head.lower()
        assert orjson.loads(body)["choices"]
        assert await reader.read() == b""
        assert simulator.statistics().answered == 1
        writer.close()


@pytest.mark.asyncio
async def test_idle_close_waits_for_the_next_request_and_never_counts_it() -> None:
    async with open_simulator(OPTIONS) as simulator:
        reader, writer = await connect(simulator)
        head, _ = await exchange(reader, writer, "idle_close")
        assert b"connection: close" not in head.lower()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await exchange(reader, writer, "reasoning")
        assert simulator.statistics().requests == 1
        writer.close()


@pytest.mark.asyncio
async def test_a_pooled_connection_meets_the_keepalive_race() -> None:
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession() as session:
        assert (await meet(session, simulator, "idle_close"))[0] == 200
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await meet(session, simulator, "reasoning")
        assert (await meet(session, simulator, "reasoning"))[0] == 200


@pytest.mark.asyncio
async def test_redirects_lead_to_another_host() -> None:
    async with open_simulator(SimulatorOptions()) as trap, aiohttp.ClientSession() as session:
        details = FaultDetails(redirect_url=f"{trap.base_url}/chat/completions")
        script = {1: "redirect_302", 2: "redirect_307", 3: "redirect_307"}
        options = SimulatorOptions(faults=FaultRules(script=script), fault_details=details)
        async with open_simulator(options) as simulator:
            url = f"{simulator.base_url}/chat/completions"
            for status in (302, 307):
                async with session.post(url, data=PLAIN, allow_redirects=False) as response:
                    assert (response.status, response.headers["Location"]) == (status, details.redirect_url)
            assert trap.statistics().requests == 0
            async with session.post(url, data=PLAIN) as response:
                assert (response.status, trap.statistics().answered) == (200, 1)


@pytest.mark.asyncio
async def test_a_giant_header_is_refused_by_the_client() -> None:
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientResponseError):
            await meet(session, simulator, "header_50k")


@pytest.mark.asyncio
async def test_bulk_comes_whole() -> None:
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession(auto_decompress=False) as session:
        assert len((await meet(session, simulator, "huge"))[1]) > 3_000_000
        bomb = await meet(session, simulator, "gzip_bomb")
        assert bomb[2]["Content-Encoding"] == "gzip"
        assert len(bomb[1]) < 10_000
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession() as session:
        assert len((await meet(session, simulator, "gzip_bomb"))[1]) > 3_000_000


@pytest.mark.asyncio
async def test_every_failure_reaches_the_client_with_its_status() -> None:
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession() as session:
        statuses = {kind: (await meet(session, simulator, kind))[0] for kind in FAILURES}
        assert statuses == {kind: int(kind[:3]) for kind in FAILURES}
        assert simulator.statistics().answered == 0


@pytest.mark.asyncio
async def test_a_row_that_fails_twice_passes_then() -> None:
    async with open_simulator(OPTIONS) as simulator, aiohttp.ClientSession() as session:
        assert [(await meet(session, simulator, "502*2"))[0] for _ in range(3)] == [502, 502, 200]


@pytest.mark.asyncio
async def test_fractions_strike_a_stream_of_requests() -> None:
    options = SimulatorOptions(seed=3, faults=FaultRules({"500": 0.2, "cut": 0.1}))
    async with open_simulator(options) as simulator, aiohttp.ClientSession() as session:
        for number in range(200):
            body = orjson.dumps({"messages": [{"role": "user", "content": f"{number}"}]})
            async with session.post(f"{simulator.base_url}/chat/completions", data=body) as response:
                try:
                    await response.read()
                except aiohttp.ClientPayloadError:
                    continue
        totals = simulator.statistics()
        struck = [entry.fault for entry in simulator.ledger.entries()]
        assert totals.by_status[500] == struck.count("500") > 20
        assert struck.count("cut") > 8
        assert totals.answered == struck.count(None)
