"""Owns the peer of `evalrunner run`: the loop a competent person writes with aiohttp when nothing may be kept.

It reads the same rows, sends the same bodies with as many requests in flight over one session, reads and parses every
answer, and writes nothing. Run as `bare_loop.py {asyncio|uvloop} DATASET URL`; it fails on any answer but 200.
"""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from workload import IN_FLIGHT, MODEL, PARAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}


async def send_all(dataset: Path, url: str) -> int:
    """Send every row and return how many answers had a choice."""
    rows = _rows(dataset)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=_HEADERS
    ) as session:
        return sum(await asyncio.gather(*(_work(session, url, rows) for _ in range(IN_FLIGHT))))


async def _work(session: aiohttp.ClientSession, url: str, rows: Iterator[dict[str, Any]]) -> int:
    answered = 0
    for row in rows:
        messages = [{"role": "user", "content": row["question"]}]
        body = orjson.dumps({"model": MODEL, "messages": messages, **PARAMS})
        async with session.post(url, data=body) as response:
            content = await response.read()
            if response.status != 200:
                raise RuntimeError(f"HTTP {response.status}")
        answered += bool(orjson.loads(content)["choices"])
    return answered


def _rows(dataset: Path) -> Iterator[dict[str, Any]]:
    with dataset.open("rb") as file:
        for line in file:
            yield orjson.loads(line)


def main() -> None:
    """Run with the process's arguments."""
    loop, dataset, url = sys.argv[1:]
    factory = import_module("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        print(runner.run(send_all(Path(dataset), url)))


if __name__ == "__main__":
    main()
