"""Owns time that only a test moves, and tasks that wait on it."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    import anyio


@dataclass
class FakeTime:
    """A clock that only moves when told, and sleeps on it."""

    now: float = 1000.0
    sleeps: list[float] = field(default_factory=list)
    _timers: list[tuple[float, int, anyio.Event]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def pause(self, wake: anyio.Event, timeout_s: float) -> None:
        if math.isfinite(timeout_s):
            self.sleeps.append(timeout_s)
            heapq.heappush(self._timers, (self.now + timeout_s, len(self.sleeps), wake))
        await wake.wait()

    async def advance(self, seconds: float) -> None:
        end = self.now + seconds
        await settle_down()
        while self._timers and self._timers[0][0] <= end:
            due, _, wake = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            wake.set()
            await settle_down()
        self.now = end


async def settle_down() -> None:
    """Let every task run until it waits; each turn of the loop can admit one."""
    for _ in range(100):
        await checkpoint()
