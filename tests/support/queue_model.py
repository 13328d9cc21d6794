"""Owns a server that queues, in virtual time: beyond its knee all requests share what it can do."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.limiter.concurrency import Concurrency


@dataclass(frozen=True)
class Queueing:
    """Up to `knee` requests at once a mean answer takes `answer_s`; past it longer in proportion.

    For each time that the knee is passed `fall` more is lost; `failing` is the share that ends in an error of overload,
    `storm` the span of time in which half of all do. Above `most` at once, requests are refused as overload at once.
    """

    knee: int
    answer_s: float = 1.0
    fall: float = 0.05
    failing: float = 0.0
    storm: tuple[float, float] = (0.0, 0.0)
    most: int = 10**9


def serve(concurrency: Concurrency, server: Queueing, *, until: float) -> list[tuple[float, int, float]]:
    """Keep as many requests under way as allowed; return the time, the number and the tokens of each answer.

    Lengths of answers vary from a fifth to five times the mean.
    """
    chance = random.Random(0)  # noqa: S311 - a model
    numbers = itertools.count()
    flying: list[tuple[float, int, float, float, bool]] = []
    done: list[tuple[float, int, float]] = []
    now = 0.0
    while now < until:
        while len(flying) < concurrency.limit:
            tokens = min(max(chance.lognormvariate(0.0, 0.6), 0.2), 5.0) * 100
            load = max(1.0, (len(flying) + 1) / server.knee)
            takes = server.answer_s * tokens / 100 * load * (1.0 + server.fall * (load - 1.0))
            share = 0.5 if server.storm[0] <= now < server.storm[1] else server.failing
            full = len(flying) >= server.most
            ends_at = now + (server.answer_s / 10 if full else takes)
            heapq.heappush(flying, (ends_at, next(numbers), now, tokens, full or chance.random() < share))
        now, _, sent_at, tokens, fails = heapq.heappop(flying)
        if fails:
            concurrency.overloaded(now, sent_at)
        else:
            full = len(flying) + 1 >= concurrency.limit
            done.append((now, concurrency.limit, tokens))
            concurrency.answered(now, sent_at, tokens, full=full)
    return done


def rate(done: list[tuple[float, int, float]], begin: float, end: float) -> float:
    """Return the tokens a second of a span."""
    return sum(tokens for at, _, tokens in done if begin <= at < end) / (end - begin)
