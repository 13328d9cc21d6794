"""Owns which nightly runs are removed, and removing them: a crash half way leaves nothing that looks like a run."""

from __future__ import annotations

import shutil
from itertools import islice
from typing import TYPE_CHECKING, Final

from runner.errors import RunnerError
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
from runner.folder.runs import runs_below
from runner.nightly.dates import date_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from runner.nightly.suite import SuiteFolder

# No run's name begins with it.
_REMOVING: Final = "_removing-"


def surplus(names: Iterable[str], keep: int, spared: Collection[str]) -> list[str]:
    """Return which nights are too many, oldest first: all but the newest `keep`, and never one that is spared.

    Names of anything else are left alone.
    """
    nights = sorted(name for name in names if date_of(name) is not None)
    return [name for name in nights[: max(0, len(nights) - keep)] if name not in spared]


def remove_runs(runs: Path, keep: int, spared: Collection[str]) -> tuple[list[str], list[str]]:
    """Remove the surplus nightly runs of one name; return the paths that are gone, and what kept others from it.

    A run that another process holds stays. The last good night stays: the next ones are compared with it.
    """
    troubles = _sweep(runs)
    gone = []
    good = (folder.root.name for folder, manifest in runs_below(runs) if manifest.summary.get("exit_code") == 0)
    # One that somebody made by hand may have asked something else, and is not removed anyway.
    kept = {*spared, *islice((name for name in good if date_of(name) is not None), 1)}
    for name in surplus(_names(runs), keep, kept):
        try:
            with hold_lock(RunFolder(runs / name)):
                (runs / name).rename(runs / f"{_REMOVING}{name}")
        except (RunnerError, OSError) as error:
            troubles.append(f"{runs / name} was not removed: {error}")
            continue
        gone.append(str(runs / name))
    return gone, troubles + _sweep(runs)


def remove_nights(folder: SuiteFolder, keep: int) -> list[str]:
    """Remove the suite's own folders of nights that are too many; return what kept any from it."""
    for name in surplus(_names(folder.nights), keep, ()):
        try:
            folder.night(name).rename(folder.nights / f"{_REMOVING}{name}")
        except OSError as error:
            return [f"{folder.night(name)} was not removed: {error.strerror}"]
    return _sweep(folder.nights)


def _sweep(parent: Path) -> list[str]:
    """Delete what was moved out of the way, now or by a night that was cut off."""
    troubles = []
    for name in _names(parent):
        if name.startswith(_REMOVING):
            try:
                shutil.rmtree(parent / name)
            except OSError as error:
                troubles.append(f"{parent / name} was not removed: {error.strerror}")
    return troubles


def _names(parent: Path) -> list[str]:
    try:
        return [path.name for path in parent.iterdir()]
    except OSError:
        return []
