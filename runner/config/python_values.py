"""Owns reading plain Python values (a dict from a manifest or from code) into a document, with keys for places."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner.config.credentials import shown
from runner.config.places import Document, Finding, Place, dotted
from runner.config.scalars import BadValueError, checked_number, checked_text
from runner.config.yaml_text import MAX_DEPTH, MAX_NODES

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config.places import KeyPath


def read_values(values: Any, folder: Path) -> Document:
    """Read mappings, list, tuple, str, int, float, bool, None and path objects; the document shares nothing with them.

    Relative paths start at `folder`. Raises nothing: what JSON does not have is in the findings, and null in the
    values. A finding at the empty path says that nothing could be read.
    """
    copier = _Copier(folder)
    try:
        copied = copier.copy(values, ())
    except _TooMuchError as error:
        return Document(None, copier.places, (Finding((), str(error)),))
    return Document(copied, copier.places, tuple(copier.findings))


class _TooMuchError(Exception):
    pass


@dataclass(slots=True)
class _Copier:
    folder: Path
    places: dict[KeyPath, Place] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def copy(self, value: Any, path: KeyPath) -> Any:
        if len(path) > MAX_DEPTH:
            raise _TooMuchError(f"nested more than {MAX_DEPTH} levels deep")
        if len(self.places) >= MAX_NODES:
            raise _TooMuchError(f"more than {MAX_NODES:,} values")
        self.places[path] = Place(0, len(self.places), 0, dotted(path) or "config", self.folder)
        try:
            if isinstance(value, Mapping):
                return {key: self.copy(item, (*path, key)) for key, item in _with_text_keys(value)}
            if isinstance(value, list | tuple):
                return [self.copy(item, (*path, number)) for number, item in enumerate(value)]
            return _scalar(value)
        except BadValueError as error:
            self.findings.append(Finding(path, str(error)))
            return None


def _with_text_keys(values: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    for key in values:
        if not isinstance(key, str):
            raise BadValueError(f"a key has to be a text, found {shown(key)}")
    return [(checked_text(str.__str__(key)), item) for key, item in values.items()]


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, os.PathLike):
        return checked_text(os.fsdecode(value))
    # Subclasses (enumerations, NumPy's float64) become the plain types that JSON has.
    if isinstance(value, str):
        return checked_text(str.__str__(value))
    if isinstance(value, int | float):
        return checked_number(int(value) if isinstance(value, int) else float(value))
    raise BadValueError(f"expected a value that JSON has, found {shown(value)}")
