from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runner.config import config_from_dict
from runner.nightly.child import Stop
from runner.nightly.readiness import wait_for_server

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config import RunConfig


def config_at(port: int, folder: Path) -> RunConfig:
    model = {"base_url": f"http://127.0.0.1:{port}/v1", "name": "m"}
    return config_from_dict({"name": "n", "dataset": {"path": "q.jsonl"}, "model": model}, folder)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.asyncio
async def test_a_server_that_starts_and_loads_is_waited_for(tmp_path: Path) -> None:
    port, asked, answers = free_port(), asyncio.Event(), iter(["503 Service Unavailable"])
    said: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said.append(next(answers, "200 OK"))
        writer.write(f"HTTP/1.1 {said[-1]}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode())
        writer.close()

    async def begin_to_listen() -> None:
        await asked.wait()
        async with await asyncio.start_server(answer, "127.0.0.1", port):
            await anyio.sleep_forever()

    def left_s() -> float:
        asked.set()
        return 60.0

    async with anyio.create_task_group() as group:
        group.start_soon(begin_to_listen)
        waited_s = await wait_for_server(config_at(port, tmp_path), left_s, Stop())
        group.cancel_scope.cancel()
    assert said == ["503 Service Unavailable", "200 OK"]
    assert waited_s > 0


@pytest.mark.asyncio
async def test_nobody_is_waited_for_without_end_or_after_a_signal(tmp_path: Path) -> None:
    config: Any = config_at(free_port(), tmp_path)
    await wait_for_server(config, lambda: 0.0, Stop())
    stop = Stop()
    stop.take(15)
    await wait_for_server(config, lambda: 60.0, stop)
    assert stop.exit_code == 143
