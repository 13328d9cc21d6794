"""Owns a process that has the program loaded and forks a child for each command, so that hundreds of them take seconds.

Run as a script: each line of standard input is a JSON object with the fields of `Job`; the answers are two lines, the
child's process id as soon as it is known and its exit code (negative: the signal that ended it).
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import json
import os
import resource
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import runner.__main__ as program
from runner import crash_points, durable
from runner.cli.app import command_line
from runner.pipeline.sending import groupcommit
from runner.pipeline.storing import sealing
from runner.sinks import parts

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Job:
    """One command, and what the world does to it.

    `output` gets stdout and stderr. `crash_at` is what EVALRUNNER_CRASH_AT would hold. `census` is a file that gets how
    often each crash point was passed. `fail_sync_at` N fails the Nth sync of a journal with EIO, once. `refuse` is the
    name of a file that cannot be made (the disk is full), once. `file_bytes` is the largest file that it may write.
    """

    arguments: tuple[str, ...]
    output: str
    crash_at: str = ""
    census: str = ""
    segment_bytes: int | None = None
    group_rows: int | None = None
    fail_sync_at: int | None = None
    refuse: str = ""
    file_bytes: int | None = None
    patience_s: int = 60


def serve() -> None:
    """Fork a child for each line of standard input, one after the other."""
    for line in sys.stdin:
        job = Job(**json.loads(line))
        child = os.fork()
        if child == 0:
            _carry_out(job)
        _answer(child)
        _answer(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _carry_out(job: Job) -> None:
    signal.alarm(job.patience_s)  # a child that hangs ends by this signal, and the test that started it fails
    output = os.open(job.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["evalrunner", *job.arguments]
    if job.segment_bytes is not None:
        groupcommit._SEGMENT_BYTES = job.segment_bytes  # small ones, so that sealing is met often
    if job.group_rows is not None:
        sealing._GROUP_FRAMES = job.group_rows
        parts._ROW_GROUP_BYTES = 1
    if job.fail_sync_at is not None:
        setattr(durable, "sync_data", _failing_sync(job.fail_sync_at))  # noqa: B010 - a function is no variable to mypy
    if job.refuse:
        _refuse(job.refuse)
    if job.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_bytes, job.file_bytes))
    crash_points._armed = crash_points.armed_point(job.crash_at)  # type: ignore[misc] # read at import, before the fork
    code = 1
    try:
        with _counting(job.census) if job.census else contextlib.nullcontext():
            program.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        # Without the interpreter's own end, which takes longer than all the rest.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def _counting(census: str) -> Any:
    passed: Counter[str] = Counter()
    crash_points._armed = crash_points.ArmedPoint("", 0)  # type: ignore[misc] # armed, so that points are looked at
    setattr(crash_points, "_pass", lambda _, name: passed.update((name,)))  # noqa: B010 - as above
    try:
        yield
    finally:
        Path(census).write_text(json.dumps(passed), encoding="utf-8")


def _failing_sync(number: int) -> Callable[[int], None]:
    """Return a sync that fails at the Nth call; any later one of the same file ends the process, visibly."""
    sync, calls, failed = durable.sync_data, 0, ""

    def sync_data(descriptor: int) -> None:
        nonlocal calls, failed
        calls += 1
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if str(path) == failed:
            os.abort()
        if calls == number:
            failed = str(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    return sync_data


def _refuse(name: str) -> None:
    """Let the disk be full when a file of that name is to be opened for the first time."""
    refused = False

    def refusing(opener: Callable[..., Any]) -> Callable[..., Any]:
        def opening(path: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal refused
            if not refused and isinstance(path, str | os.PathLike) and Path(path).name == name:
                refused = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
            return opener(path, *arguments, **options)

        return opening

    setattr(os, "open", refusing(os.open))  # noqa: B010 - a function is no variable to mypy
    setattr(io, "open", refusing(io.open))  # noqa: B010 - as above


def _load_the_rest() -> None:
    """Load what the program loads only once it runs: here once, and not in every child."""
    command_line()
    for name in ("anyio._backends._asyncio", "dateutil", "pandas", "uvloop"):
        if find_spec(name) is not None:
            import_module(name)


if __name__ == "__main__":
    _load_the_rest()
    gc.freeze()
    serve()
