"""Owns a peer: the openai SDK with its own retries, as many requests in flight as evalrunner has, limits unknown.

Run as `sdk_loop.py DATASET BASE_URL`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import openai
from workload import IN_FLIGHT, MODEL, RATE_PARAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_RETRIES = 8


async def send_all(dataset: Path, base_url: str) -> None:
    """Send every row; what fails after all retries is given up."""
    rows = _rows(dataset)
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=_MAX_RETRIES) as client:
        await asyncio.gather(*(_work(client, rows) for _ in range(IN_FLIGHT)))


async def _work(client: openai.AsyncOpenAI, rows: Iterator[str]) -> None:
    for question in rows:
        try:
            await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": question}], **RATE_PARAMS
            )
        except openai.APIError:
            continue


def _rows(dataset: Path) -> Iterator[str]:
    with dataset.open("rb") as file:
        for line in file:
            yield json.loads(line)["question"]


if __name__ == "__main__":
    asyncio.run(send_all(Path(sys.argv[1]), sys.argv[2]))
