from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import orjson
import pytest

from runner.errors import UsageError
from runner.simulate import (
    AnswerStyle,
    FaultDetails,
    FaultRules,
    Fixed,
    Latency,
    Limits,
    SimulatorOptions,
    open_simulator,
    request_digest,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.simulate import Simulator

HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
FOREVER = Latency(Fixed(3600.0))


async def until(fact: Callable[[], bool]) -> None:
    while not fact():  # noqa: ASYNC110 - the server sets no event for what a test waits for
        await asyncio.sleep(0)


async def ask(session: aiohttp.ClientSession, url: str, body: Any = None, **more: Any) -> tuple[int, Any]:
    async with session.post(url, data=orjson.dumps(body or HELLO), **more) as response:
        return response.status, orjson.loads(await response.read())


def chat_url(simulator: Simulator) -> str:
    return f"{simulator.base_url}/chat/completions"


@pytest.mark.asyncio
async def test_an_answer_and_its_place_in_the_ledger() -> None:
    async with open_simulator(SimulatorOptions()) as simulator, aiohttp.ClientSession() as session:
        status, answer = await ask(session, chat_url(simulator))
        assert (status, answer["model"], answer["object"]) == (200, "m", "chat.completion")
        (entry,) = simulator.ledger.entries()
        assert (entry.digest, entry.status, entry.completed, entry.answered) == (request_digest(HELLO), 200, True, True)
        totals = simulator.statistics()
        usage = answer["usage"]
        assert (totals.prompt_tokens, totals.completion_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])


@pytest.mark.asyncio
async def test_totals_are_served_as_json() -> None:
    options = SimulatorOptions(faults=FaultRules(script={2: "500"}))
    async with open_simulator(options) as simulator, aiohttp.ClientSession(simulator.base_url + "/") as session:
        for _ in range(3):
            await ask(session, "chat/completions")
        async with session.get("/_ledger") as response:
            totals = await response.json()
    assert totals.pop("prompt_tokens") == 12
    assert totals.pop("completion_tokens") > 0
    assert totals == {
        "requests": 3,
        "answered": 2,
        "in_flight": 0,
        "max_in_flight": 1,
        "by_status": {"200": 2, "500": 1},
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions", "/llm/chat/completions"])
async def test_the_version_in_the_path_may_be_missing(path: str) -> None:
    options = SimulatorOptions(prefix="/llm")
    async with open_simulator(options) as simulator, aiohttp.ClientSession() as session:
        assert simulator.base_url.endswith("/llm/v1")
        assert (await ask(session, simulator.base_url.removesuffix("/llm/v1") + path))[0] == 200


@pytest.mark.asyncio
async def test_models_and_health() -> None:
    options = SimulatorOptions(models=("one", "two"), api_keys=("sk-right",))
    async with open_simulator(options) as simulator, aiohttp.ClientSession() as session:
        async with session.get(f"{simulator.base_url}/models") as response:
            assert response.status == 401
        async with session.get(f"{simulator.base_url}/models", headers={"api-key": "sk-right"}) as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["one", "two"]
        async with session.get(simulator.base_url.replace("/v1", "/healthz")) as response:
            assert await response.json() == {"status": "ok"}
        assert simulator.statistics().requests == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer sk-wrong"}, 401),
        ({"Authorization": "Basic sk-right"}, 401),
        ({"Authorization": "Bearer sk-right"}, 200),
        ({"Authorization": "bearer sk-right"}, 200),
        ({"api-key": "sk-right"}, 200),
    ],
)
async def test_keys_come_as_bearer_or_as_azure_sends_them(headers: dict[str, str], status: int) -> None:
    options = SimulatorOptions(api_keys=("sk-right",))
    async with open_simulator(options) as simulator, aiohttp.ClientSession() as session:
        assert (await ask(session, chat_url(simulator), headers=headers))[0] == status
        assert simulator.statistics().by_status == {status: 1}


@pytest.mark.asyncio
async def test_unknown_paths_and_methods_get_openai_s_errors() -> None:
    async with open_simulator(SimulatorOptions()) as simulator, aiohttp.ClientSession() as session:
        status, body = await ask(session, f"{simulator.base_url}/nothing")
        assert (status, body["error"]["message"]) == (404, "Invalid URL (POST /v1/nothing)")
        async with session.get(chat_url(simulator)) as response:
            assert response.status == 405
            assert (await response.json())["error"]["code"] == "method_not_supported"
        assert simulator.statistics().requests == 0


@pytest.mark.asyncio
async def test_bodies_above_the_limit_get_413() -> None:
    async with open_simulator(SimulatorOptions(max_body_bytes=200)) as simulator, aiohttp.ClientSession() as session:
        long = {"messages": [{"role": "user", "content": "x" * 300_000}]}
        assert (await ask(session, chat_url(simulator), long))[0] == 413
        assert (await ask(session, chat_url(simulator)))[0] == 200


@pytest.mark.asyncio
async def test_limits_run_on_the_given_clock() -> None:
    time = [0.0]
    options = SimulatorOptions(limits=Limits(requests_per_minute=6, burst_s=1))
    async with open_simulator(options, now=lambda: time[0]) as simulator, aiohttp.ClientSession() as session:
        statuses = []
        for time[0] in (0.0, 9.99, 10.0, 10.0):
            async with session.post(chat_url(simulator), json=HELLO) as response:
                statuses.append(response.status)
        assert statuses == [200, 429, 200, 429]
        assert response.headers["Retry-After"] == "10"
        assert response.headers["x-ratelimit-reset-requests"] == "10s"


@pytest.mark.asyncio
async def test_requests_in_flight_are_counted_and_abandoned_ones_leave() -> None:
    async with open_simulator(SimulatorOptions(latency=FOREVER)) as simulator, aiohttp.ClientSession() as session:
        waiting = [asyncio.create_task(ask(session, chat_url(simulator))) for _ in range(3)]
        await until(lambda: simulator.statistics().in_flight == 3)
        for task in waiting:
            task.cancel()
        await until(lambda: simulator.statistics().in_flight == 0)
        totals = simulator.statistics()
        assert (totals.requests, totals.answered, totals.max_in_flight, totals.by_status) == (3, 0, 3, {})


@pytest.mark.asyncio
async def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_simulator(SimulatorOptions()) as simulator:
        host, port = simulator.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()
        async with aiohttp.ClientSession() as session:
            await ask(session, chat_url(simulator))
        assert simulator.statistics().requests == 1
    assert caplog.records == []


@pytest.mark.asyncio
async def test_options_can_be_changed_in_the_run() -> None:
    async with open_simulator(SimulatorOptions()) as simulator, aiohttp.ClientSession() as session:
        assert (await ask(session, chat_url(simulator)))[0] == 200
        simulator.change(SimulatorOptions(faults=FaultRules({"503": 1.0})))
        assert (await ask(session, chat_url(simulator)))[0] == 503
        simulator.change(SimulatorOptions(answers=AnswerStyle(echo=True)))
        assert (await ask(session, chat_url(simulator)))[1]["choices"][0]["message"]["content"] == "Hello"
        simulator.change(SimulatorOptions(prefix="/elsewhere", models=("new",), max_body_bytes=10))
        assert (await ask(session, chat_url(simulator)))[0] == 413
        async with session.get(f"{simulator.base_url}/models") as response:
            assert (await response.json())["data"][0]["id"] == "new"
        assert simulator.statistics().requests == 4


@pytest.mark.asyncio
async def test_the_answers_file_names_every_answer_a_client_has(tmp_path: Path) -> None:
    options = SimulatorOptions(ledger_path=tmp_path / "ledger", faults=FaultRules(script={2: "cut", 3: "html_200"}))
    bodies = [{"messages": [{"role": "user", "content": f"{number}"}]} for number in range(4)]
    async with open_simulator(options) as simulator, aiohttp.ClientSession() as session:
        for body in bodies:
            async with session.post(chat_url(simulator), json=body) as response:
                try:
                    await response.read()
                except aiohttp.ClientPayloadError:
                    continue
        digests = [request_digest(body) for body in bodies]
        assert (tmp_path / "ledger").read_text().split() == [digests[0], digests[3]]
        assert (tmp_path / "ledger.arrivals").read_text().split() == digests


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["hang", "drip", "huge", "ok"])
async def test_leaving_ends_every_request_at_once(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    before = asyncio.all_tasks()
    options = SimulatorOptions(
        latency=FOREVER if kind == "ok" else Latency(),
        faults=FaultRules(script={1: kind}),
        fault_details=FaultDetails(drip_interval_s=3600.0),
    )
    async with aiohttp.ClientSession() as session:
        async with open_simulator(options) as simulator:
            asking = asyncio.create_task(ask(session, chat_url(simulator)))
            await until(lambda: simulator.statistics().in_flight == 1)
        assert simulator.statistics().in_flight == 0
        assert simulator.statistics().answered == 0
        with pytest.raises(aiohttp.ClientError):
            await asking
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask(session, chat_url(simulator))
    assert asyncio.all_tasks() == before
    assert caplog.records == []


@pytest.mark.asyncio
async def test_leaving_drops_idle_connections_and_answers_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    before = asyncio.all_tasks()
    options = SimulatorOptions(faults=FaultRules(script={2: "huge", 3: "idle_close"}))
    async with aiohttp.ClientSession() as session:
        async with open_simulator(options) as simulator:
            responses = [await session.post(chat_url(simulator), json=HELLO) for _ in range(3)]
        assert simulator.statistics().by_status == {200: 3}
        for response in responses:
            response.close()
    assert asyncio.all_tasks() == before
    assert caplog.records == []


@pytest.mark.asyncio
async def test_serve_says_where_and_ends_when_cancelled() -> None:
    urls: list[str] = []
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await serve(SimulatorOptions(latency=FOREVER), ready=urls.append)

        group.start_soon(run)
        await until(lambda: bool(urls))
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(ask(session, f"{urls[0]}/chat/completions"))
            totals: dict[str, Any] = {}
            while not totals.get("in_flight"):
                async with session.get(urls[0].replace("/v1", "/_ledger")) as response:
                    totals = await response.json()
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([asking])
            assert isinstance(asking.exception(), aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)


@pytest.mark.asyncio
async def test_a_server_on_all_addresses_names_one_that_can_be_called() -> None:
    options = SimulatorOptions(host="0.0.0.0")  # noqa: S104 - it is what is tested
    async with open_simulator(options) as simulator, aiohttp.ClientSession() as session:
        assert simulator.base_url.startswith("http://127.0.0.1:")
        assert (await ask(session, chat_url(simulator)))[0] == 200


@pytest.mark.asyncio
async def test_a_taken_port_is_an_error_of_the_caller() -> None:
    async with open_simulator(SimulatorOptions()) as simulator:
        port = int(simulator.base_url.removesuffix("/v1").rpartition(":")[2])
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}"):
            async with open_simulator(SimulatorOptions(port=port)):
                pass


def test_the_simulator_needs_no_data_libraries() -> None:
    code = "import sys, runner.simulate; print({'pyarrow', 'pandas', 'numpy'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
