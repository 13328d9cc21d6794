"""Owns steering a running session from outside: a socket, one line in, one line out, and doing what is asked."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread

from runner.awake import awake_s
from runner.errors import RunnerError, StorageError, internal_error
from runner.folder.controlsocket import listening, supported
from runner.jsontext import dumps, scrub
from runner.pipeline.sending.steering import (
    MOST_LINE_BYTES,
    Change,
    Look,
    Pause,
    Unpause,
    changed,
    difference,
    read_command,
    servers_in_force,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from runner.config import RunConfig
    from runner.limiter import Pool
    from runner.pipeline.sending.sessionplan import Steering
    from runner.pipeline.sending.steering import Command
    from runner.pipeline.sending.underway import UnderWay
    from runner.progress import Snapshot

_MOST_AT_ONCE = 8
_MOST_STRAGGLERS = 10
# Whoever connects and says nothing, or does not take the answer, is let go after this long.
_PATIENCE_S = 5.0
_TROUBLE_S = 1.0


class Steered(Protocol):
    """The session, as far as it is looked at and changed here."""

    def snapshot(self) -> Snapshot:
        """Return how things stand now."""
        ...

    def hire(self) -> None:
        """Let there be workers for all that may be under way by now."""
        ...


@dataclass(slots=True)
class LiveControl:
    """Takes commands for one session. Nothing that anybody sends, or does not send, can end or stop the run."""

    steering: Steering
    pool: Pool
    under_way: UnderWay
    session: Steered
    on_event: Callable[[str, dict[str, object]], None]
    _config: RunConfig = field(init=False)
    _alone: anyio.Lock = field(default_factory=anyio.Lock)
    _places: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(_MOST_AT_ONCE))

    def __post_init__(self) -> None:
        self._config = self.steering.config

    async def serve(self) -> None:
        """Listen until cancelled. Where there can be no socket the run goes on, and the event log says why."""
        if not supported():
            return
        with contextlib.ExitStack() as stack:
            try:
                listener = await anyio.to_thread.run_sync(stack.enter_context, listening(self.steering.folder))
            except OSError as error:
                self.on_event("cannot be steered", {"reason": str(error)})
                return
            async with anyio.create_task_group() as group:
                while True:
                    await self._places.acquire()
                    group.start_soon(self._serve_one, await _accept(listener))

    async def _serve_one(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # who goes away early needs no answer
                connection.settimeout(0.0)
                with anyio.fail_after(_PATIENCE_S):
                    line = await _read_line(connection)
                reply = await self._reply(line)
                with anyio.fail_after(_PATIENCE_S):
                    await _write(connection, reply)
        finally:
            self._places.release()

    async def _reply(self, line: bytes) -> bytes:
        try:
            reply = await self._obey(read_command(line))
        except RunnerError as error:
            reply = _refusal(error)
        except Exception as bug:  # noqa: BLE001 - the run must not end because somebody looked at it
            reply = _refusal(internal_error("obeying a command", bug))
        # A sample's id may hold what is no UTF-8.
        return self.steering.redact(scrub(dumps(reply) or "{}")).encode() + b"\n"

    async def _obey(self, command: Command) -> dict[str, Any]:
        """Do what a command asks, and return how things stand after it. Raises RunnerError; then nothing is changed."""
        if isinstance(command, Look):
            return self._view()
        async with self._alone:
            if isinstance(command, Change):
                entry = await self._change(command)
            elif isinstance(command, Pause) is self.pool.statistics().paused:
                entry = {}
            elif isinstance(command, Unpause):
                self.pool.unpause()
                entry = {"paused": False}
            else:
                self.pool.pause()
                entry = {"paused": True}
            return self._view() | await self._put_down(entry)

    async def _change(self, command: Change) -> dict[str, Any]:
        folder = self.steering.folder
        config = await anyio.to_thread.run_sync(changed, self._config, command.texts, folder.root)
        found = difference(self._config.limits, config.limits)
        self.pool.change(self.steering.limits_of(config))
        self._config = config
        self.session.hire()
        return {"limits": found} if found else {}

    async def _put_down(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Write down what was done; it is done all the same where the disk refuses."""
        if not entry:
            return {"changed": {}}
        self.on_event("steered", entry)
        try:
            await anyio.to_thread.run_sync(self.steering.record, entry)
        except StorageError as error:
            return {"changed": entry, "warning": f"done, but not recorded in the manifest: {error.message}"}
        return {"changed": entry}

    def _view(self) -> dict[str, Any]:
        now, snapshot, seen = awake_s(), self.session.snapshot(), self.pool.statistics()
        return {
            "paused": seen.paused,
            "paused_s": round(seen.paused_s, 3),
            "done": snapshot.done,
            "total": snapshot.total,
            "answered": snapshot.answered,
            "failed": snapshot.failed,
            "in_flight": snapshot.in_flight,
            "waiting": snapshot.waiting,
            "retries": snapshot.retries,
            "rate_limited": snapshot.rate_limited,
            "requests_per_s": round(snapshot.per_second, 3),
            "tokens_per_s": round(snapshot.tokens_per_second, 1),
            "elapsed_s": round(snapshot.elapsed_s, 3),
            "eta_s": None if snapshot.eta_s is None else round(snapshot.eta_s, 1),
            "frozen_for_s": round(seen.frozen_for_s, 3),
            "servers": servers_in_force(
                self.steering.limits_of(self.steering.config), self.steering.limits_of(self._config), seen
            ),
            "slowest": [
                asdict(one) | {"age_s": round(one.age_s, 3)} for one in self.under_way.slowest(now, _MOST_STRAGGLERS)
            ],
        }


async def _accept(listener: socket.socket) -> socket.socket:
    """Return the next connection."""
    while True:
        await anyio.wait_readable(listener)
        try:
            return listener.accept()[0]
        except BlockingIOError:
            continue
        except OSError:  # no descriptor is free, or it went away again
            await anyio.sleep(_TROUBLE_S)


async def _read_line(connection: socket.socket) -> bytes:
    """Return what comes up to the end of the line, or of the connection, and of a longer line its beginning."""
    line = bytearray()
    while b"\n" not in line and len(line) < MOST_LINE_BYTES:
        await anyio.wait_readable(connection)
        with contextlib.suppress(BlockingIOError):
            block = connection.recv(MOST_LINE_BYTES - len(line))
            if not block:
                break
            line += block
    return bytes(line).partition(b"\n")[0]


async def _write(connection: socket.socket, reply: bytes) -> None:
    left = memoryview(reply)
    while left:
        await anyio.wait_writable(connection)
        with contextlib.suppress(BlockingIOError):
            left = left[connection.send(left) :]


def _refusal(error: RunnerError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
