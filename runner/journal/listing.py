"""Owns the names of the journal's segments, `000001.journal` and so on, and the list of those in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner import durable

if TYPE_CHECKING:
    from pathlib import Path

_SEGMENT_NAME: Final = re.compile(r"(\d{6,})\.journal", re.ASCII)


@dataclass(frozen=True, slots=True)
class SegmentList:
    """The segments of a folder in the order of their numbers, and what else lies there."""

    paths: tuple[Path, ...]
    strays: tuple[Path, ...]


def list_segments(folder: Path) -> SegmentList:
    """List the segments in `folder`. Raises StorageError."""
    try:
        present = sorted(folder.iterdir())
    except OSError as error:
        raise durable.storage_error(error, "list", folder) from error
    numbered = {int(match[1]): path for path in present if (match := _SEGMENT_NAME.fullmatch(path.name))}
    paths = tuple(path for number, path in sorted(numbered.items()) if path == segment_path(folder, number))
    return SegmentList(paths, tuple(path for path in present if path not in paths))


def segment_path(folder: Path, number: int) -> Path:
    """Return where segment `number` lies in `folder`."""
    return folder / f"{number:06d}.journal"
