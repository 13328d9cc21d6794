"""Owns what an interrupt does: the first lets answers under way come in for a while, the second lets go at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import anyio

from runner.pipeline.sending.control import StopKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.pipeline.sending.control import Control
    from runner.pipeline.sending.counters import Counters

# After the first interrupt, as at the end of a session's time, answers under way may still come in for this long.
GRACE_S = 30.0


async def watch_signals(control: Control, counters: Counters, say: Callable[[str], None]) -> None:
    """Stop at SIGINT and SIGTERM, until cancelled."""
    async with anyio.create_task_group() as group:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            async for number in received:
                if control.stopping:
                    say(f"stopping at once; {counters.in_flight} requests under way are let go")
                    control.let_go()
                    continue
                count = counters.in_flight
                say(f"stopping: {count} answers under way may come in for {GRACE_S:g} s; again stops at once")
                control.stop(StopKind.INTERRUPTED if number == signal.SIGINT else StopKind.TERMINATED)
                group.start_soon(_let_go_later, control)


async def let_go_when_cancelled(control: Control) -> None:
    """Pass a cancellation from outside on to the requests under way, which are shielded from it."""
    try:
        await anyio.sleep_forever()
    finally:
        control.let_go()


async def _let_go_later(control: Control) -> None:
    await anyio.sleep(GRACE_S)
    control.let_go()
