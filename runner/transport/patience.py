"""Owns a time-out around a block that time in which the process stood still does not use up."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Self

from runner.awake import awake_s

if TYPE_CHECKING:
    from types import TracebackType


class Patience:
    """An async context that ends with TimeoutError when what is expected does not come in time. Without limit at first.

    Its timer only looks: where the clock stood still, or more time was given meanwhile, it is set again for the rest.
    """

    __slots__ = ("_due", "_looks_at", "_loop", "_timeout", "_timer")

    def __init__(self) -> None:
        self._timeout = asyncio.timeout(None)
        self._due = self._looks_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def expect(self, seconds: float | None) -> None:
        """Let the next thing happen within so many seconds; null: whenever it does."""
        self._due = math.inf if seconds is None else awake_s() + seconds
        if self._due < self._looks_at:
            self._look_in(self._due - awake_s())

    def expired(self) -> bool:
        """Say whether it ended in time-out."""
        return self._timeout.expired()

    def _look(self) -> None:
        self._timer, self._looks_at = None, math.inf
        left_s = self._due - awake_s()
        if left_s <= 0.0:
            self._timeout.reschedule(self._loop.time())
        elif left_s < math.inf:
            self._look_in(left_s)

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = self._due
        self._timer = self._loop.call_later(seconds, self._look)
