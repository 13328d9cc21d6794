"""Owns an embedded model's server as its parent sees it: start, readiness, end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import orjson
from anyio.streams.buffered import BufferedByteReceiveStream

from runner.errors import CannotCreateError, EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from anyio.abc import Process

_CHILD: Final = Path(__file__).with_name("llamacpp.py")
_MOST_THREADS: Final = 8  # a small model gains nothing from more
_STOP_S: Final = 2.0
_POLL_S: Final = 0.05
_TAIL_LINES: Final = 8
_TAIL_BYTES: Final = 4096
_ANSWER_BYTES: Final = 65536
# llama.cpp's threads spin at each of a token's many barriers (libgomp's default: 300,000 turns). When another process
# takes one of their cores, the others spin in vain: measured on 2 cores beside a busy one, 0.8 requests/s against 3.6.
_ENVIRONMENT: Final = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
_INSTALL_HINT: Final = "run python -m pip install 'evalrunner[local]'"
# By the class of the child's exception; llama.cpp itself says no more than RuntimeError, and the reason in the log.
_HINTS: Final = {
    "ModuleNotFoundError": _INSTALL_HINT,
    "ImportError": "xllamacpp is installed but does not load; on Debian and Ubuntu it needs the package libgomp1",
    "RuntimeError": "the .gguf file may be damaged, or of a kind that this llama.cpp does not know",
}


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a model is served.

    `slots` requests are computed at a time, each with room for `context_tokens` of prompt and answer. `threads` is
    null for the cores this process may use, 8 at most. Without `log_path` the server's messages are shown only if it
    does not start. With `embeddings` it gives vectors and no texts, one at a time.
    """

    threads: int | None = None
    slots: int = 4
    context_tokens: int = 2048
    log_path: Path | None = None
    deadline_s: float = 120.0
    embeddings: bool = False


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A server that answers: OpenAI-compatible at `base_url`, on the loopback interface only."""

    base_url: str
    model: str
    pid: int


def require_engine() -> None:
    """Raise EngineError unless the package with llama.cpp's server is installed."""
    if find_spec("xllamacpp") is None:
        raise EngineError("an embedded model needs the package xllamacpp, which is not installed", hint=_INSTALL_HINT)


@asynccontextmanager
async def open_server(weights: Path, name: str, options: ServerOptions) -> AsyncIterator[EmbeddedServer]:
    """Start the server in a child process, wait until it is healthy, and end it with the context.

    The child lives no longer than this process, whatever ends it, and no signal of the terminal reaches it. Raises
    EngineError with the child's last messages if it exits or is late, CannotCreateError for the log.
    """
    with _open_log(options.log_path) as log:
        begin = log.tell()
        process = await _start(_command(weights, name, options), log)
        try:
            url = await _wait_ready(process, options.deadline_s, log, begin)
            yield EmbeddedServer(base_url=f"{url}/v1", model=name, pid=process.pid)
        finally:
            await _stop(process)


def _command(weights: Path, name: str, options: ServerOptions) -> list[str]:
    return [
        sys.executable,
        "-P",  # else the folder of the script comes first on the child's import path
        str(_CHILD),
        f"--weights={weights}",
        f"--name={name}",
        f"--threads={options.threads or _usable_cores()}",
        f"--slots={options.slots}",
        f"--context-tokens={options.context_tokens}",
        *(["--embeddings"] if options.embeddings else []),
    ]


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    return min(os.cpu_count() or 1, _MOST_THREADS)


@contextmanager
def _open_log(path: Path | None) -> Iterator[IO[bytes]]:
    """Open the log for appending and reading; without a path a file that nobody else sees."""
    if path is None:
        with tempfile.TemporaryFile("a+b") as unseen:
            yield unseen
        return
    try:
        log = path.open("a+b")
    except OSError as error:
        raise CannotCreateError(f"{path}: {error.strerror}", hint="the embedded model's log goes there") from error
    with log:
        yield log


async def _start(command: list[str], log: IO[bytes]) -> Process:
    try:
        return await anyio.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_ENVIRONMENT | os.environ,
            start_new_session=True,  # a Ctrl-C goes to the terminal's whole foreground group
        )
    except OSError as error:
        raise EngineError(f"the embedded model's server cannot be started: {error.strerror}") from error


async def _wait_ready(process: Process, deadline_s: float, log: IO[bytes], begin: int) -> str:
    try:
        with anyio.fail_after(deadline_s):
            url = await _read_url(process)
            await _poll_health(url)
            return url
    except TimeoutError:
        raise EngineError(
            f"the embedded model's server was not ready after {deadline_s:g} s{_tail(log, begin)}",
            hint="the machine may be too busy, or short of memory",
        ) from None
    except _ExitedError as exited:
        raise EngineError(
            f"the embedded model's server did not start: {exited.reason}{_tail(log, begin)}", hint=exited.hint
        ) from None


class _ExitedError(Exception):
    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


async def _read_url(process: Process) -> str:
    """Return the URL that the child says it listens at. Raises _ExitedError if it says anything else, or nothing."""
    if process.stdout is None:  # pragma: no cover -- it was opened with a pipe
        raise _ExitedError("its output is not connected", "")
    try:
        answer = orjson.loads(await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", _ANSWER_BYTES))
    except (anyio.EndOfStream, anyio.IncompleteRead):
        raise _ExitedError(*_reading_of(await process.wait())) from None
    except (anyio.DelimiterNotFound, orjson.JSONDecodeError):
        raise _ExitedError("something else writes to its output", "a .pth file or sitecustomize may print") from None
    if "url" in answer:
        return str(answer["url"])
    kind = answer["error"].partition(":")[0]
    raise _ExitedError(answer["error"], _HINTS.get(kind, ""))


def _reading_of(returncode: int) -> tuple[str, str]:
    """Return what an exit without a word means, and what to do about it."""
    if returncode == -signal.SIGILL:
        return "it was ended by SIGILL", "this processor lacks instructions the package was built for"
    if returncode < 0:
        return f"it was ended by {signal.Signals(-returncode).name}", "the machine may be short of memory"
    return f"it exited with {returncode}", ""


async def _poll_health(url: str) -> None:
    """Return when /health says 200. llama.cpp answers 503 there while a model loads."""
    while not await _healthy(urlsplit(url).hostname or "", urlsplit(url).port or 0):  # noqa: ASYNC110 -- not ours to set
        await anyio.sleep(_POLL_S)


async def _healthy(host: str, port: int) -> bool:
    try:
        async with await anyio.connect_tcp(host, port) as stream:
            await stream.send(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            status = await BufferedByteReceiveStream(stream).receive_until(b"\r\n", _ANSWER_BYTES)
    except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
        return False
    return b" 200 " in status + b" "


async def _stop(process: Process) -> None:
    """Let go of the leash; after a moment, kill. The server keeps nothing that a kill could harm."""
    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(_STOP_S):
            await process.aclose()
        if process.returncode is None:
            process.kill()
            await process.wait()


def _tail(log: IO[bytes], begin: int) -> str:
    """Return the last lines that the child wrote, each indented on a line of its own; "" if there are none."""
    log.seek(0, os.SEEK_END)
    log.seek(max(begin, log.tell() - _TAIL_BYTES))
    lines = log.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
    return "".join("\n  " + "".join(c if c.isprintable() else "?" for c in line) for line in lines)
