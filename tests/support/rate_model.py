"""Owns a rate-limited server and its client in virtual time: how much of what is permitted a client gets."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.limiter.governor import Governor


@dataclass
class Bucket:
    """A strict server's limit: `per_s` units a second, a burst of `burst_s` seconds; it may change in time."""

    per_s: Callable[[float], float]
    burst_s: float = 1.0
    level: float = field(init=False)
    at: float = 0.0
    permitted: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.per_s(0.0) * self.burst_s

    def take(self, now: float) -> bool:
        rate = self.per_s(now)
        self.level = min(self.level + (now - self.at) * rate, rate * self.burst_s)
        self.at = now
        if self.level < 1.0:
            return False
        self.level -= 1.0
        return True


class ByChance(Bucket):
    """A limit, by default none, and a share of requests that is refused whatever the rate."""

    def __init__(self, share: float, per_s: float = 1e9) -> None:
        super().__init__(lambda _: per_s)
        self._share, self._chance = share, random.Random(0)  # noqa: S311 - a model

    def take(self, now: float) -> bool:
        return self._chance.random() >= self._share and super().take(now)


@dataclass(frozen=True)
class Course:
    """What came of it: send times of what was admitted and of what was refused."""

    admitted: list[float]
    refused: list[float]

    def used(self, begin: float, end: float, per_s: float) -> float:
        """Return the share of what was permitted in a span that was admitted."""
        return sum(begin <= at < end for at in self.admitted) / ((end - begin) * per_s)

    @property
    def refused_share(self) -> float:
        return len(self.refused) / (len(self.admitted) + len(self.refused))


def drive(
    governor: Governor, server: Bucket, *, until: float, round_trip_s: float, most_per_s: float = 5_000
) -> Course:
    """Let a client that always has something to send go as fast as the governor says, with a bucket of 0.25 s."""
    numbers = itertools.count()
    events: list[tuple[float, int, str, tuple[float, int]]] = [(0.0, next(numbers), "send", (0.0, 0))]
    admitted: list[float] = []
    refused: list[float] = []
    level, at = 1.0, 0.0
    while events:
        now, _, kind, (sent_at, number) = heapq.heappop(events)
        if now >= until:
            break
        if kind == "send":
            rate = min(governor.rate(now), most_per_s)
            level, at = min(level + (now - at) * rate, max(1.0, 0.25 * rate)), now
            if level >= 1.0 - 1e-9:
                level -= 1.0
                own = governor.sent(now)
                heapq.heappush(events, (now + round_trip_s / 2, next(numbers), "arrive", (now, own)))
            wait = max((1.0 - level) / rate, 1e-6)
            heapq.heappush(events, (now + wait, next(numbers), "send", (0.0, 0)))
        elif kind == "arrive":
            if server.take(now):
                admitted.append(sent_at)
            else:
                refused.append(sent_at)
                heapq.heappush(events, (now + round_trip_s / 2, next(numbers), "refuse", (sent_at, number)))
        else:
            governor.refused(now, sent_at, number)
    return Course(admitted, refused)
