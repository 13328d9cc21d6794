"""Owns a peer: the pattern of the OpenAI cookbook's parallel request processor, written anew.

A minute's capacity for requests and tokens to begin with, refilled evenly; one request begun in each turn of a loop
that sleeps a millisecond; what is refused goes to a queue and is begun before anything new, five times at most; after
a 429 nothing is begun for 15 s. Tokens are counted as the simulator does, which is better than the pattern's own count.
Run as `cookbook_loop.py DATASET URL REQUESTS_PER_MINUTE TOKENS_PER_MINUTE`, `inf` for no limit.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from workload import MODEL, RATE_PARAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

_TURN_S = 0.001
_PAUSE_S = 15.0
_ATTEMPTS = 5
_CHARACTERS_OF_A_TOKEN = 4
_TOKENS_OF_A_MESSAGE = 4


@dataclass(slots=True)
class Asked:
    """One request, what it may use, and how often it may still be sent."""

    body: bytes
    tokens: int
    attempts_left: int = _ATTEMPTS


@dataclass(slots=True)
class Capacity:
    """What may be begun: refilled evenly, a minute's worth at most."""

    per_minute: float
    left: float

    def refill(self, seconds: float) -> None:
        """Add what `seconds` bring."""
        self.left = min(self.left + self.per_minute * seconds / 60, self.per_minute)


class Processor:
    """The loop and what it knows: capacities, what is to be sent again, and when the last 429 came."""

    def __init__(self, session: aiohttp.ClientSession, url: str, requests: float, tokens: float) -> None:
        self._session = session
        self._url = url
        self._requests = Capacity(requests, requests)
        self._tokens = Capacity(tokens, tokens)
        self._again: deque[Asked] = deque()
        self._refused_at = -_PAUSE_S
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, rows: Iterator[Asked]) -> None:
        """Send all rows."""
        waiting: Asked | None = None
        before = time.monotonic()
        while True:
            waiting = waiting or (self._again.popleft() if self._again else next(rows, None))
            if waiting is None and not self._tasks:
                return
            now = time.monotonic()
            self._requests.refill(now - before)
            self._tokens.refill(now - before)
            before = now
            if waiting and self._requests.left >= 1 and self._tokens.left >= waiting.tokens:
                self._begin(waiting)
                waiting = None
            await asyncio.sleep(_TURN_S)
            if (rest_s := self._refused_at + _PAUSE_S - time.monotonic()) > 0:
                await asyncio.sleep(rest_s)

    def _begin(self, asked: Asked) -> None:
        self._requests.left -= 1
        self._tokens.left -= asked.tokens
        asked.attempts_left -= 1
        task = asyncio.create_task(self._send(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, asked: Asked) -> None:
        try:
            async with self._session.post(self._url, data=asked.body) as response:
                orjson.loads(await response.read())
                status = response.status
        except aiohttp.ClientError:
            status = 0
        if status == 429:
            self._refused_at = time.monotonic()
        if status != 200 and asked.attempts_left:
            self._again.append(asked)


async def send_all(dataset: Path, url: str, requests: float, tokens: float) -> None:
    """Send every row of a dataset."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await Processor(session, url, requests, tokens).run(_rows(dataset))


def _rows(dataset: Path) -> Iterator[Asked]:
    with dataset.open("rb") as file:
        for line in file:
            yield _asked(orjson.loads(line)["question"])


def _asked(question: str) -> Asked:
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": question}], **RATE_PARAMS}
    prompt = -(-len(question) // _CHARACTERS_OF_A_TOKEN) + _TOKENS_OF_A_MESSAGE
    return Asked(orjson.dumps(body), prompt + RATE_PARAMS["max_completion_tokens"])


if __name__ == "__main__":
    asyncio.run(send_all(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
