"""Owns the peer of packed embeddings: the loop that a competent person writes when nothing may be kept.

It reads the same rows, sends as many inputs in a request, reads and parses every answer, and decodes each vector. Run
as `bare_packs.py DATASET URL INPUTS`; it fails on any answer but 200.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import orjson
from workload import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_FLIGHT = 4
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}


async def embed_all(dataset: Path, url: str, inputs: int) -> int:
    """Embed every row and return how many numbers the vectors had."""
    packs = _packs(dataset, inputs)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), headers=_HEADERS) as session:
        return sum(await asyncio.gather(*(_work(session, url, packs) for _ in range(_IN_FLIGHT))))


async def _work(session: aiohttp.ClientSession, url: str, packs: Iterator[list[str]]) -> int:
    numbers = 0
    for texts in packs:
        body = orjson.dumps({"model": MODEL, "input": texts, "encoding_format": "base64"})
        async with session.post(url, data=body) as response:
            content = await response.read()
            if response.status != 200:
                raise RuntimeError(f"HTTP {response.status}")
        numbers += sum(map(_length, orjson.loads(content)["data"]))
    return numbers


def _length(entry: dict[str, Any]) -> int:
    return len(np.frombuffer(base64.b64decode(entry["embedding"]), np.float32))


def _packs(dataset: Path, inputs: int) -> Iterator[list[str]]:
    with dataset.open("rb") as file:
        rows = map(orjson.loads, file)
        while pack := [row["question"] for row in islice(rows, inputs)]:
            yield pack


def main() -> None:
    """Run with the process's arguments."""
    dataset, url, inputs = sys.argv[1:]
    print(asyncio.run(embed_all(Path(dataset), url, int(inputs))))


if __name__ == "__main__":
    main()
