"""Owns locks: one holder at a time, freed by the kernel when its process dies; foremost that of a run folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from runner.errors import BusyError, CannotCreateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.folder.layout import RunFolder


# Whoever asks whether a run is locked holds its lock for an instant.
_ASKED_S = 0.2


@dataclass(frozen=True, slots=True)
class LockWords:
    """What a lock's errors say: what is locked, and of another holder what it does and what can be done about it."""

    what: str
    busy: str
    hint: str


@contextlib.contextmanager
def hold_lock(folder: RunFolder) -> Iterator[None]:
    """Hold the run for this process. Raises BusyError naming the holder, CannotCreateError without a lock file."""
    words = LockWords(
        what="the run folder",
        busy=f"{folder.root}: another process is writing to this run",
        hint="wait for it, or interrupt it; answers it has are safe either way",
    )
    with hold_file(folder.lock, words, patience_s=_ASKED_S):
        yield


@contextlib.contextmanager
def hold_file(path: Path, words: LockWords, *, patience_s: float = 0.0, since: str | None = None) -> Iterator[None]:
    """Hold a lock file for this process, which notes itself in it, with `since` if that is given.

    Raises BusyError naming the holder, once it has waited `patience_s`; CannotCreateError without a lock file.
    """
    # Not per thread: `arun` takes it in a worker thread and gives it back in the event loop's.
    lock = FileLock(path, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=patience_s, poll_interval=0.02)
    except Timeout:
        raise BusyError(f"{words.busy}{_holder(path)}", hint=words.hint) from None
    except (OSError, NotImplementedError) as error:
        raise CannotCreateError(f"{path}: cannot lock {words.what}: {error}") from error
    try:
        _write_holder(path, since)
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


def _write_holder(path: Path, since: str | None) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname()} | ({"since": since} if since else {})
    with contextlib.suppress(OSError):  # the text is a courtesy, the flock is the lock
        path.write_text(json.dumps(holder), encoding="utf-8")


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        since = f", since {holder['since']}" if "since" in holder else ""
        return f" (process {int(holder['pid'])} on {holder['host']}{since})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
