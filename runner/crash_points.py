"""Owns the named instants at which a test may kill the process, to prove that any of them can be survived.

`EVALRUNNER_CRASH_AT=NAME` sends SIGKILL to this process when it first passes that point, `NAME:3` at the third passing.
The variable is read once, at import; when it is not set a point costs one look at a module global.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Final

CRASH_POINTS: Final = (
    "folder:after-create",
    "atomic:after-create",
    "atomic:after-write",
    "atomic:after-sync",
    "atomic:after-rename",
    "atomic:after-folder-sync",
    "publish:before-rename",
    "publish:after-rename",
    "publish:after-folder-sync",
    "remove:before",
    "remove:after",
    "repair:after-cut",
    "repair:after-sync",
    "journal:after-create",
    "journal:after-header-write",
    "journal:after-header-sync",
    "journal:after-folder-sync",
    "journal:before-write",
    "journal:after-write",
    "journal:after-sync",
    "journal:after-mark",
    "session:after-answer",
    "sealing:after-row-group",
    "sealing:after-staging",
    "sealing:before-segment-removal",
    "sealing:after-segment-removal",
    "superseding:after-staging",
    "scoring:after-part",
    "scoring:after-commit",
    "scoring:after-switch",
    "commit:after-commit-file",
    "commit:after-rename",
    "recovery:after-apply",
    "recovery:before-sealing",
    "run:after-tables",
    "run:after-manifest",
)


@dataclass(slots=True)
class ArmedPoint:
    """The point that kills, and how many passings are left until it does."""

    name: str
    left: int


def crash_point(name: str) -> None:
    """Kill this process here if the environment asked for it; `name` is one of `CRASH_POINTS`."""
    if _armed is not None:
        _pass(_armed, name)


def armed_point(setting: str) -> ArmedPoint | None:
    """Read `NAME` or `NAME:COUNT`; empty means none. ValueError if the name is unknown or the count not positive."""
    if not setting:
        return None
    name, _, count = setting.rpartition(":")
    if not count.isdecimal():
        name, count = setting, "1"
    if name not in CRASH_POINTS or int(count) < 1:
        # A misspelt point would never kill, and the test that set it would pass without having shown anything.
        raise ValueError(f"EVALRUNNER_CRASH_AT={setting!r}: no such crash point; known are {', '.join(CRASH_POINTS)}")
    return ArmedPoint(name, int(count))


def _pass(armed: ArmedPoint, name: str) -> None:
    if name == armed.name:
        armed.left -= 1
        if armed.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


_armed: Final = armed_point(os.environ.get("EVALRUNNER_CRASH_AT", ""))
