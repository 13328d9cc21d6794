"""Owns the kept columns of the dataset: values as their Arrow columns take them; what does not fit leaves a note."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any

from runner.readers import ColumnKind, to_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EXPECTED = {"string": str, "int64": int, "double": float, "bool": bool}
_INT64 = 2**63


def convert_columns(values: Mapping[str, Any], columns: Mapping[str, str], notes: list[str]) -> list[Any]:
    """Return the kept dataset values in the order of `columns`, each as its Arrow column takes it."""
    return [_convert(name, values.get(name), kind, notes) for name, kind in columns.items()]


def kept_column(name: str, kind: str, values: Sequence[Any], noted: dict[int, list[str]]) -> Sequence[Any]:
    """Return one kept column of the dataset; values that do not fit are converted or null, with a note by case."""
    if set(map(type, values)) <= {_EXPECTED.get(kind), NoneType} and (kind != "int64" or _all_fit(values)):
        return values
    converted = []
    for case, value in enumerate(values):
        notes: list[str] = []
        converted.append(_convert(name, value, kind, notes))
        if notes:
            noted.setdefault(case, []).extend(notes)
    return converted


def _convert(name: str, value: Any, kind: str, notes: list[str]) -> Any:
    if value is None or (type(value) is _EXPECTED.get(kind) and _fits(value)):
        return value
    converted, note = to_kind(value, ColumnKind(kind))
    if note:
        notes.append(f"in_{name}: {note}")
    return converted


def _all_fit(numbers: Sequence[int | None]) -> bool:
    known = [number for number in numbers if number is not None]
    return not known or (_fits(min(known)) and _fits(max(known)))


def _fits(value: Any) -> bool:
    return type(value) is not int or -_INT64 <= value < _INT64
