"""Owns the keys that hold paths, and making relative paths absolute: each counts from where it was written."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config.adapter_names import is_adapter_path
from runner.config.models import LAST_GOOD, Output
from runner.config.places import nearest, value_at, with_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config.places import Document, KeyPath

# Words that stand where a path can stand.
_NO_PATHS: dict[KeyPath, str] = {
    ("dataset", "path"): "-",
    ("gates", "baseline"): LAST_GOOD,
}
_OUTPUT_DIR: KeyPath = ("output", "dir")
_ADAPTER: KeyPath = ("model", "adapter")
_MAGIC = frozenset("*?[")


def path_keys(values: Any) -> Iterator[KeyPath]:
    """Yield the keys of those texts, in plain values of any shape, that are paths of files or folders."""
    adapter = value_at(values, _ADAPTER)
    if isinstance(adapter, str) and is_adapter_path(adapter):
        yield _ADAPTER
    scorers = value_at(values, ("scorers",))
    compared = [("scorers", number, "against") for number in range(len(scorers) if isinstance(scorers, list) else 0)]
    for key in (*_NO_PATHS, _OUTPUT_DIR, *compared):
        value = value_at(values, key)
        if isinstance(value, str) and value != _NO_PATHS.get(key):
            yield key
        if isinstance(value, list):
            yield from ((*key, number) for number, item in enumerate(value) if isinstance(item, str))


def with_absolute_paths(document: Document) -> dict[str, Any]:
    """Return the document's values, which must be a mapping, with absolute paths; the output folder is filled in."""
    values: dict[str, Any] = document.values
    for key in path_keys(values):
        folder = nearest(document.places, key).folder
        make_absolute = _absolute_pattern if key[0] == "dataset" else absolute_path
        values = with_value(values, key, make_absolute(value_at(values, key), folder))
    output = values.get("output", {})
    if isinstance(output, dict) and "dir" not in output:
        default = Output.model_fields["dir"].default
        values = with_value(values, _OUTPUT_DIR, absolute_path(default, document.places[()].folder))
    return values


def absolute_path(path: str, folder: Path) -> str:
    """Return a path that counts from `folder` as an absolute one; a `~` in front is the home folder."""
    return os.path.normpath(folder.resolve() / _from_home(path))


def _absolute_pattern(path: str, folder: Path) -> str:
    # A bracket in the name of the config's own folder is no pattern.
    beside = Path(glob.escape(str(folder.resolve()))) if _MAGIC.intersection(path) else folder.resolve()
    return os.path.normpath(beside / _from_home(path))


def _from_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user: a file that really begins with ~
        return Path(path)
