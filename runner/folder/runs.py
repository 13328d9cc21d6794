"""Owns finding run folders: those directly below a folder, with their manifests, newest first."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from runner.errors import RunFolderError
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from runner.folder.manifest import Manifest


def runs_below(parent: Path) -> list[tuple[RunFolder, Manifest]]:
    """Return the runs directly below a folder, newest first; what has no manifest that can be read is left out."""
    found = []
    for root in folders_below(parent):
        folder = RunFolder(root)
        if folder.manifest.exists():
            try:
                manifest = read_manifest(folder)
            except RunFolderError:
                continue
            found.append((manifest.created_at, (folder, manifest)))
    return [run for _, run in sorted(found, key=itemgetter(0), reverse=True)]


def folders_below(parent: Path) -> list[Path]:
    """Return the folders directly below one, without those whose names begin with `_` or `.`; none if there is none."""
    try:
        return [path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))]
    except OSError:
        return []
