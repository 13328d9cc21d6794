"""Deadlines of requests whose process was stopped: they look at the clock that stood still, not at the timer."""

from __future__ import annotations

import asyncio

import pytest

from runner.transport import patience
from runner.transport.patience import Patience

SOON_S = 0.005


class Still:
    """A clock that stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self._left = 0
        self._looked = asyncio.Event()
        monkeypatch.setattr(patience, "awake_s", self)

    def __call__(self) -> float:
        self._left -= 1
        if not self._left:
            self._looked.set()
        return self.now

    async def looked_at(self, times: int) -> None:
        """Wait until so many more have looked: timers that fired."""
        self._left = times
        self._looked.clear()
        await self._looked.wait()


@pytest.mark.asyncio
async def test_a_timer_that_fires_after_a_standstill_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, waiting = Still(monkeypatch), Patience()

    async def wait_in_vain() -> None:
        async with waiting:
            waiting.expect(SOON_S)
            await clock.looked_at(3)  # the loop's time has passed more than once
            assert not waiting.expired()
            clock.now = SOON_S
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait_in_vain()
    assert waiting.expired()


@pytest.mark.asyncio
async def test_more_time_is_given_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, waiting = Still(monkeypatch), Patience()

    async def wait_in_vain() -> None:
        async with waiting:
            waiting.expect(SOON_S)
            waiting.expect(3600.0)
            clock.now = 60.0
            await clock.looked_at(1)
            waiting.expect(None)
            assert not waiting.expired()
            waiting.expect(0.0)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait_in_vain()
    assert waiting.expired()


@pytest.mark.asyncio
async def test_what_comes_in_time_leaves_no_timer() -> None:
    async with Patience() as waiting:
        waiting.expect(3600.0)
        assert waiting._timer is not None
    assert waiting._timer.cancelled()
    assert not waiting.expired()
