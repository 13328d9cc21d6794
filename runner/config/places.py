"""Owns where in a config something stands, and how a finding there becomes a problem that a user reads."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from runner.config.credentials import shown_key
from runner.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a config: `("request", "messages", 0, "role")`."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a value was written; places sort in the order in which a user reads them.

    `source` numbers what was read (the config, its model file, then each --set). `text` is what a message says:
    `file:line:column`, `--set KEY`, or a key. Relative paths at this place are relative to `folder`.
    """

    source: int
    line: int
    column: int
    text: str = field(compare=False)
    folder: Path = field(compare=False)


@dataclass(frozen=True, slots=True)
class Source:
    """What is read: `name` is what messages call it, it comes `number`-th, and its relative paths start at `folder`.

    `numbered` says that it has lines worth naming: a file has, a --set has not.
    """

    name: str
    folder: Path
    number: int = 0
    numbered: bool = True

    def place(self, line: int, column: int) -> Place:
        """Return the place at a line and a column, both counted from 0."""
        text = f"{self.name}:{line + 1}:{column + 1}" if self.numbered else self.name
        return Place(self.number, line, column, text, self.folder)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with the value at `path`; `place` where that is more exact than the place of `path`."""

    path: KeyPath
    message: str
    hint: str = ""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Plain JSON-compatible values, the place of every key and list item, and what was wrong with the text itself."""

    values: Any
    places: Mapping[KeyPath, Place]
    findings: tuple[Finding, ...] = ()


def nearest(places: Mapping[KeyPath, Place], path: KeyPath) -> Place:
    """Return the place of a key, or of the closest section above it that was written."""
    while path and path not in places:
        path = path[:-1]
    return places[path]


def graft(document: Document, path: KeyPath, part: Document) -> Document:
    """Return the document with `part` as the value at `path`; sections above it are made where there are none.

    Raises KeyError as `with_value` does.
    """
    kept = {key: place for key, place in document.places.items() if key[: len(path)] != path}
    above = {path[:length]: part.places[()] for length in range(len(path))}
    moved = {path + key: place for key, place in part.places.items()}
    findings = [finding for finding in document.findings if finding.path[: len(path)] != path]
    findings += [replace(finding, path=path + finding.path) for finding in part.findings]
    return Document(with_value(document.values, path, part.values), {**above, **kept, **moved}, tuple(findings))


def with_value(container: Any, path: KeyPath, value: Any) -> Any:
    """Return a copy of plain values with the value at `path` replaced; sections above it are made where there are none.

    Raises KeyError where something above `path` is neither a section nor a list that has the index.
    """
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(container, list) and isinstance(key, int) and 0 <= key < len(container):
        return [*container[:key], with_value(container[key], rest, value), *container[key + 1 :]]
    if container is None or isinstance(container, dict):
        section = container or {}
        return {**section, key: with_value(section.get(key), rest, value)}
    raise KeyError(key)


def part_at(document: Document, path: KeyPath) -> Document:
    """Return the value at `path`, which must exist, as a document of its own."""
    size = len(path)
    places = {key[size:]: place for key, place in document.places.items() if key[:size] == path}
    findings = tuple(replace(f, path=f.path[size:]) for f in document.findings if f.path[:size] == path)
    return Document(value_at(document.values, path), {(): nearest(document.places, path), **places}, findings)


def value_at(values: Any, path: KeyPath) -> Any:
    """Return the value at `path` in plain values of any shape; null where there is none."""
    for part in path:
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and 0 <= part < len(values):
            values = values[part]
        else:
            return None
    return values


def problems(findings: Iterable[Finding], places: Mapping[KeyPath, Place]) -> list[Problem]:
    """Put findings into words, in the order of their places."""
    placed = [(finding.place or nearest(places, finding.path), finding) for finding in findings]
    placed.sort(key=lambda pair: pair[0])
    return [Problem(place.text, _sentence(place, finding), finding.hint) for place, finding in placed]


def dotted(path: KeyPath) -> str:
    """Return a key path as users write it: `request.messages.0.role`."""
    return ".".join(shown_key(str(part)) for part in path)


def _sentence(place: Place, finding: Finding) -> str:
    key = dotted(finding.path)
    if not key or place.text in (key, f"--set {key}"):
        return finding.message
    return f"{key}: {finding.message}"
