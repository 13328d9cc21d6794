"""Owns a clock that stands still while this process does: stopped (SIGSTOP, a debugger) or asleep with its machine.

Whether a sleeping machine's monotonic clock goes on differs between systems; that of a stopped process does. What was
simply not there to wait has not waited: deadlines count by this clock, so that they do not all pass in that instant,
answers that came meanwhile are read, and no rate is measured over the gap.

A standstill shows as a gap that is longer than a busy event loop leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICK_S = 0.5
STANDSTILL_S = 3.0


class AwakeClock:
    """Monotonic seconds without standstills.

    A standstill is a gap between two looks at the clock, while somebody ticks, that is looks each `TICK_S`.
    """

    __slots__ = ("_clock", "_lock", "_lost_s", "_seen", "_tickers")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._lost_s = 0.0
        self._seen = 0.0
        self._tickers = 0

    def now(self) -> float:
        """Return the seconds; whoever asks first after a standstill takes it out."""
        now = self._clock()
        if now - self._seen > STANDSTILL_S and self._tickers:
            self._skip(now)
        self._seen = now
        return now - self._lost_s

    def begin(self) -> None:
        """Count one more who ticks from now on."""
        with self._lock:
            self._tickers += 1
            if self._tickers == 1:
                self._seen = self._clock()

    def end(self) -> None:
        """Count one less."""
        with self._lock:
            self._tickers -= 1

    def _skip(self, now: float) -> None:
        with self._lock:
            gap_s = now - self._seen
            if gap_s > STANDSTILL_S:  # nobody was faster
                self._lost_s += gap_s
                self._seen = now


_CLOCK = AwakeClock()
awake_s = _CLOCK.now


@contextlib.contextmanager
def watching_standstills() -> Iterator[None]:
    """Tick for the length of the context, from the running event loop.

    The tick is a callback of the loop and no task, so that after a standstill it runs before the timers that are due.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def tick() -> None:
        nonlocal timer
        _CLOCK.now()
        timer = loop.call_later(TICK_S, tick)

    _CLOCK.begin()
    timer = loop.call_later(TICK_S, tick)
    try:
        yield
    finally:
        timer.cancel()
        _CLOCK.end()
