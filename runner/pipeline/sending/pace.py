"""Owns the pace lines of the event log: how fast a session goes and what it waits for, now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.limiter import PoolStatistics
    from runner.progress import Snapshot

EVENT: Final = "pace"
# Lines come closer at the start, so that a short run has some, and ever further apart, so that a long one has few: of
# a month they are about 900.
_FIRST_S = 1.0
_LINES_BEFORE_DOUBLING = 60


async def note_pace(
    look: Callable[[], tuple[Snapshot, PoolStatistics]], write: Callable[[str, dict[str, object]], None]
) -> None:
    """Write a line to the event log each second, and half as often after every 60 lines, until cancelled.

    A last line is written when it ends, so that all lines together cover the session.
    """
    begun_cpu, every_s, lines = time.process_time(), _FIRST_S, 0
    try:
        while True:
            write(EVENT, pace_line(*look(), cpu_s=time.process_time() - begun_cpu))
            lines += 1
            if lines % _LINES_BEFORE_DOUBLING == 0:
                every_s *= 2
            await anyio.sleep(every_s)
    finally:
        write(EVENT, pace_line(*look(), cpu_s=time.process_time() - begun_cpu))


def pace_line(seen: Snapshot, pool: PoolStatistics, *, cpu_s: float) -> dict[str, object]:
    """Return one line. Counters are of this session, `cpu_s` is processor time of all its threads since it began.

    `held` rows are ready and wait for a rate or a slot, `waiting` ones for their next attempt.
    """
    return {
        "elapsed_s": round(seen.elapsed_s + pool.paused_s, 3),
        "ended": seen.done - seen.already_done,
        "answered": seen.answered,
        "failed": seen.failed,
        "retries": seen.retries,
        "rate_limited": seen.rate_limited,
        "in_flight": pool.in_flight,
        "max_in_flight": pool.max_in_flight,
        "held": pool.waiting,
        "waiting": seen.waiting,
        "frozen_for_s": round(pool.frozen_for_s, 3),
        "paused": pool.paused,
        "out": len(pool.out),
        "cpu_s": round(cpu_s, 3),
    }
