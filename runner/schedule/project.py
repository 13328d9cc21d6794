"""Owns the folder that is a project: what a checkout or an image holds, and paths as they are called inside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.schedule.entry import ScheduleEntry


def project_root(entry: ScheduleEntry) -> Path:
    """Return the repository that the first config is in; without one the folder that all configs and outputs share."""
    first = Path(entry.configs[0]).parent
    found = next((folder for folder in (first, *first.parents) if (folder / ".git").exists()), None)
    shared = Path(os.path.commonpath([*(str(Path(one).parent) for one in entry.configs), *entry.outputs]))
    return found if found is not None and _holds_all(found, entry) else shared


def inside(path: str, root: Path) -> str:
    """Return a path as it is called from the project's folder, with `/` between its parts."""
    return Path(path).relative_to(root).as_posix()


def _holds_all(root: Path, entry: ScheduleEntry) -> bool:
    return all(Path(path).is_relative_to(root) for path in (*entry.configs, *entry.outputs))
