"""Owns changing this user's crontab: between an entry's own marks, every other byte kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import StorageError, UsageError
from runner.schedule import cron
from runner.schedule.command import call, said

if TYPE_CHECKING:
    from runner.schedule.entry import ScheduleEntry


def install(entry: ScheduleEntry) -> list[str]:
    """Put an entry into the crontab, in place of an earlier one. Raises UsageError, StorageError."""
    text = cron.write(entry)
    before = read()
    after = cron.with_entry(before, entry.id, text)
    if after == before:
        return [f"crontab: evalrunner:{entry.id} stands there already, unchanged"]
    _write(after)
    return [f"crontab: evalrunner:{entry.id} {'replaced' if cron.begin_mark(entry.id) in before else 'added'}"]


def remove(entry: ScheduleEntry) -> list[str]:
    """Take an entry out of the crontab. Raises UsageError, StorageError."""
    before = read()
    after = cron.without_entry(before, entry.id)
    if after == before:
        return [f"crontab: there is no evalrunner:{entry.id}"]
    _write(after)
    return [f"crontab: evalrunner:{entry.id} removed"]


def read() -> str:
    """Return the crontab, empty where the user has none; bytes that are no UTF-8 survive. Raises UsageError."""
    done = call(["crontab", "-l"])
    if done.returncode != 0:
        if done.stderr.lower().startswith(b"no crontab for"):
            return ""
        # What cannot be read must not be replaced.
        raise UsageError(f"`crontab -l` failed: {said(done)}", hint="nothing was changed")
    return done.stdout.decode("utf-8", "surrogateescape")


def _write(text: str) -> None:
    # crontab itself checks the whole of it and puts it in place in one step, or not at all.
    done = call(["crontab", "-"], text.encode("utf-8", "surrogateescape"))
    if done.returncode != 0:
        raise StorageError(f"`crontab -` refused the crontab: {said(done)}", hint="the old one stands as it was")
