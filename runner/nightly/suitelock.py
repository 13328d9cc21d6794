"""Owns the lock of a suite: one night at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.folder.lock import LockWords, hold_file

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from runner.nightly.suite import SuiteFolder


def hold_suite(folder: SuiteFolder, now: datetime) -> AbstractContextManager[None]:
    """Hold the suite for this process.

    Raises BusyError naming the holder and since when, CannotCreateError without a lock file.
    """
    words = LockWords(
        what="the suite",
        busy=f"{folder.root}: another process is carrying out a night of this suite",
        hint="it ends at its deadline; SIGTERM to that process lets it end before, and the next call goes on",
    )
    return hold_file(folder.lock, words, since=now.isoformat(timespec="seconds"))
