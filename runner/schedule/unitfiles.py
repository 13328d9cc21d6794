"""Owns installing units for a user's own systemd, all of it or nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runner.durable import create_folder, write_atomically
from runner.durable import remove as remove_file
from runner.errors import UsageError
from runner.schedule.command import call, said
from runner.schedule.systemd import MARK, units

if TYPE_CHECKING:
    from runner.schedule.entry import ScheduleEntry


def folder() -> Path:
    """Return where a user's units lie."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def install(entry: ScheduleEntry) -> list[str]:
    """Write both units, and start the timer. Raises UsageError, StorageError; then neither unit is there."""
    _refuse_without_manager()
    place, texts = folder(), units(entry)
    timer = f"evalrunner-{entry.id}.timer"
    for name in texts:
        _refuse_foreign(place / name)
    create_folder(place)
    for output in entry.outputs:  # what a service may write to has to be there when it starts
        create_folder(Path(output))
    before = {name: _bytes(place / name) for name in texts}
    for name, text in texts.items():
        write_atomically(place / name, text.encode("utf-8", "surrogateescape"), staging=place)
    for words in (["daemon-reload"], ["enable", "--now", timer], ["restart", timer]):
        done = call(["systemctl", "--user", *words])
        if done.returncode != 0:
            _put_back(place, before)
            raise UsageError(f"`systemctl --user {' '.join(words)}` failed: {said(done)}", hint="nothing was installed")
    return [f"{place / name} {_what_became(before[name], text)}" for name, text in texts.items()] + [f"{timer} enabled"]


def remove(entry: ScheduleEntry) -> list[str]:
    """Stop the timer and remove both units. Raises UsageError, StorageError."""
    place = folder()
    names = [name for name in units(entry) if (place / name).exists()]
    if not names:
        return [f"{place}: there is no evalrunner-{entry.id}"]
    _refuse_without_manager()
    for name in names:
        _refuse_foreign(place / name)
    done = call(["systemctl", "--user", "disable", "--now", f"evalrunner-{entry.id}.timer"])
    if done.returncode != 0:
        raise UsageError(f"`systemctl --user disable` failed: {said(done)}", hint="nothing was removed")
    for name in names:
        remove_file(place / name)
    call(["systemctl", "--user", "daemon-reload"])
    return [f"{place / name} removed" for name in names]


def _refuse_without_manager() -> None:
    done = call(["systemctl", "--user", "show-environment"])
    if done.returncode != 0:
        raise UsageError(
            f"this user has no systemd to talk to: {said(done)}",
            hint="nothing was changed; log in as the user (not by su or sudo), with `loginctl enable-linger` for "
            "nights without a session, or use --format cron",
        )


def _refuse_foreign(path: Path) -> None:
    found = _bytes(path)
    if found is not None and not found.startswith(MARK.encode()):
        raise UsageError(f"{path}: it is not evalrunner's", hint="move it away")


def _put_back(place: Path, before: dict[str, bytes | None]) -> None:
    for name, content in before.items():
        if content is None:
            remove_file(place / name)
        else:
            write_atomically(place / name, content, staging=place)
    call(["systemctl", "--user", "daemon-reload"])


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _what_became(before: bytes | None, text: str) -> str:
    if before is None:
        return "written"
    return "unchanged" if before == text.encode("utf-8", "surrogateescape") else "replaced"
