"""Owns one config's process: started, read, ended in time, so that whatever becomes of it touches nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from runner.durable import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from anyio.abc import ByteReceiveStream, Process

_MOST_OUTPUT_BYTES = 16 * 1024 * 1024
_REST_S = 5.0
# A clock that is set, or a machine that slept, is noticed after this long.
_LOOK_S = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a process may take to end, in seconds: after SIGTERM, after a second one, after SIGKILL.

    A run lets answers under way come in for 30 s after the first, and none after the second.
    """

    drain_s: float = 45.0
    seal_s: float = 60.0
    kill_s: float = 10.0


@dataclass(slots=True)
class Stop:
    """Whether somebody wants the night to end: the first signal that came, and what waits for it."""

    signal: int | None = None
    came: anyio.Event = field(default_factory=anyio.Event)
    again: anyio.Event = field(default_factory=anyio.Event)

    def take(self, number: int) -> None:
        """Note a signal."""
        (self.again if self.came.is_set() else self.came).set()
        self.signal = self.signal or number

    @property
    def exit_code(self) -> int | None:
        """130 or 143 once a signal came."""
        return None if self.signal is None else 128 + self.signal


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: exit code (negative: its signal), its one JSON object, and whether its time was over."""

    code: int
    output: dict[str, Any] | None
    late: bool


async def run_child(
    command: Sequence[str], log: Path, left_s: Callable[[], float], stop: Stop, patience: Patience
) -> Ended:
    """Run a command to its end, or until `left_s` says that no time is left, or somebody wants the night to end.

    Its stderr is appended to `log`, of its stdout 16 MiB are read. No signal of the terminal reaches it. Raises OSError
    where it cannot be started or the log not be written.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
    try:
        process = await anyio.open_process(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=descriptor, start_new_session=True
        )
    finally:
        os.close(descriptor)
    output, late = bytearray(), False
    async with anyio.create_task_group() as group:
        group.start_soon(_end_on_signal, process, stop, patience)
        read = anyio.Event()
        if process.stdout is not None:
            group.start_soon(_read, process.stdout, output, read)
        late = not await _ended_within(process, left_s)
        if late:
            await _end(process, patience)
        with anyio.move_on_after(_REST_S):
            await read.wait()
        group.cancel_scope.cancel()
    with anyio.CancelScope(shield=True), anyio.move_on_after(patience.kill_s):
        await process.aclose()
    code = -signal.SIGKILL if process.returncode is None else process.returncode
    return Ended(code, _json(bytes(output)), late)


async def watch_signals(stop: Stop, say: Callable[[str], None], ready: anyio.Event) -> None:
    """Take SIGINT and SIGTERM until cancelled; `ready` is set once none is missed."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        ready.set()
        async for number in received:
            say("ending the night: answers under way may come in; the same command goes on later")
            stop.take(number)


def signal_name(number: int) -> str:
    """Return what a signal is called."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def wait_for_any(stop: Stop, seconds: float) -> bool:
    """Wait some seconds, or until somebody wants the night to end: then return true."""
    with anyio.move_on_after(max(seconds, 0.0)):
        await stop.came.wait()
    return stop.came.is_set()


async def _ended_within(process: Process, left_s: Callable[[], float]) -> bool:
    while process.returncode is None and (left := left_s()) > 0:
        with anyio.move_on_after(min(left, _LOOK_S)):
            await process.wait()
    return process.returncode is not None


async def _end_on_signal(process: Process, stop: Stop, patience: Patience) -> None:
    await stop.came.wait()
    async with anyio.create_task_group() as group:
        group.start_soon(_end, process, patience)
        await stop.again.wait()
        _signal(process, signal.SIGTERM)


async def _end(process: Process, patience: Patience) -> None:
    """End a process: politely, then at once, then by force. Returns when it is gone, or cannot be ended at all."""
    for number, wait_s in (
        (signal.SIGTERM, patience.drain_s),
        (signal.SIGTERM, patience.seal_s),
        (signal.SIGKILL, patience.kill_s),
    ):
        _signal(process, number)
        with anyio.move_on_after(wait_s):
            await process.wait()
            return


def _signal(process: Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)


async def _read(stream: ByteReceiveStream, output: bytearray, done: anyio.Event) -> None:
    """Read to the end, so that the process is never held up; keep as much as one JSON object may have."""
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
        while True:
            block = await stream.receive()
            if len(output) <= _MOST_OUTPUT_BYTES:
                output += block
    done.set()


def _json(output: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(output)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
