"""Owns which files a dataset path means: globs, suffixes, and the hints when there is no such file."""

from __future__ import annotations

import difflib
import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

CODECS: Final = {".gz": "gzip", ".zst": "zstd"}
SUFFIXES: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
_SUPPORTED: Final = f"supported: {' '.join(SUFFIXES)}, each also with {' or '.join(CODECS)}"


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """One file of a dataset: `name` for messages, `suffix` without compression, `codec` None, gzip or zstd."""

    path: Path
    name: str
    suffix: str
    codec: str | None


def resolve_paths(path: str | Sequence[str]) -> list[Path]:
    """Return the files that a path, a glob, or a list of them stands for, each once.

    Paths keep their order, the matches of a glob are sorted. Raises DatasetError where nothing matches, where it is a
    folder, or where the suffix is not supported.
    """
    patterns = [path] if isinstance(path, str) else list(path)
    if not patterns:
        raise DatasetError("the dataset names no file", hint="give dataset.path a file, a glob or a list of them")
    found = [match for pattern in patterns for match in _matches(pattern)]
    for match in found:
        dataset_file(match)
    return list(dict.fromkeys(found))


def dataset_file(path: Path) -> DatasetFile:
    """Return what the suffix of `path` says. Raises DatasetError for a suffix that is not supported."""
    plain, codec = path, None
    if path.suffix.lower() in CODECS:
        plain, codec = path.with_suffix(""), CODECS[path.suffix.lower()]
    suffix = plain.suffix.lower()
    if suffix not in SUFFIXES:
        hint = "write one JSON object per line and name it .jsonl" if suffix == ".json" else _SUPPORTED
        raise DatasetError(f"{_shown(path)}: the suffix {suffix or '(none)'} is not a dataset format", hint=hint)
    return DatasetFile(path, _shown(path), suffix, codec)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return `did you mean …?` for a near name, else the first known names, else nothing."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    some = sorted(known)[:8]
    return f"there are: {', '.join(some)}{', …' if len(known) > len(some) else ''}" if some else ""


def _matches(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        raise DatasetError(f"{_shown(path)} is a folder, not a file", hint=f"name its files, as in {pattern}/*.jsonl")
    if path.exists():
        return [path]
    if glob.has_magic(pattern):
        found = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - takes absolute patterns too
        files = [match for match in found if not match.is_dir()]
        if files:
            return files
        raise DatasetError(f"no file matches {pattern}", hint=_hint_for(path))
    raise DatasetError(f"the dataset file {_shown(path)} does not exist", hint=_hint_for(path))


def _hint_for(path: Path) -> str:
    folder = path.parent
    if glob.has_magic(str(folder)):
        return "check the folders in the pattern"
    if not folder.is_dir():
        return f"there is no folder {_shown(folder)}"
    names = [entry.name for entry in folder.iterdir() if _is_dataset(entry)]
    return did_you_mean(path.name, names) or f"the folder {_shown(folder)} holds no dataset file; {_SUPPORTED}"


def _is_dataset(path: Path) -> bool:
    plain = path.with_suffix("") if path.suffix.lower() in CODECS else path
    return plain.suffix.lower() in SUFFIXES and path.is_file()


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
