"""Owns the lock of a suite: one night at a time, freed by the kernel when its process dies."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import orjson
from filelock import FileLock, Timeout

from runner.errors import BusyError, CannotCreateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from runner.nightly.suite import SuiteFolder


@contextlib.contextmanager
def hold_suite(folder: SuiteFolder, now: datetime) -> Iterator[None]:
    """Hold the suite for this process.

    Raises BusyError naming the holder and since when, CannotCreateError without a lock file.
    """
    lock = FileLock(folder.lock, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(
            f"{folder.root}: another process is carrying out a night of this suite{_holder(folder)}",
            hint="it ends at its deadline; SIGTERM to that process lets it end before, and the next call goes on",
        ) from None
    except (OSError, NotImplementedError) as error:
        raise CannotCreateError(f"{folder.lock}: cannot lock the suite: {error}") from error
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now.isoformat(timespec="seconds")}
        with contextlib.suppress(OSError):  # the text is a courtesy, the flock is the lock
            folder.lock.write_bytes(orjson.dumps(holder))
        yield
    finally:
        lock.release()


def _holder(folder: SuiteFolder) -> str:
    try:
        holder = orjson.loads(folder.lock.read_bytes())
        return f" (process {int(holder['pid'])} on {holder['host']}, since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
