"""Owns the lock of a run folder: one writer at a time, freed by the kernel when its process dies."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from runner.errors import BusyError, CannotCreateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.folder.layout import RunFolder


# Whoever asks whether a run is locked holds its lock for an instant.
_ASKED_S = 0.2


@contextlib.contextmanager
def hold_lock(folder: RunFolder) -> Iterator[None]:
    """Hold the run for this process. Raises BusyError naming the holder, CannotCreateError without a lock file."""
    # Not per thread: `arun` takes it in a worker thread and gives it back in the event loop's.
    lock = FileLock(folder.lock, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=_ASKED_S, poll_interval=0.02)
    except Timeout:
        raise BusyError(
            f"{folder.root}: another process is writing to this run{_holder(folder)}",
            hint="wait for it, or interrupt it; answers it has are safe either way",
        ) from None
    except (OSError, NotImplementedError) as error:
        raise CannotCreateError(f"{folder.lock}: cannot lock the run folder: {error}") from error
    try:
        _write_holder(folder)
        yield
    finally:
        lock.release()


def is_locked(folder: RunFolder) -> bool:
    """Say whether another process is writing to the run now."""
    if not folder.lock.exists():
        return False
    lock = FileLock(folder.lock, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def _write_holder(folder: RunFolder) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname()}
    with contextlib.suppress(OSError):  # the text is a courtesy, the flock is the lock
        folder.lock.write_text(json.dumps(holder), encoding="utf-8")


def _holder(folder: RunFolder) -> str:
    try:
        holder = json.loads(folder.lock.read_text(encoding="utf-8"))
        return f" (process {int(holder['pid'])} on {holder['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
