"""Owns the kinds a dataset column can have in the output, and how they combine."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from runner.errors import DatasetError
from runner.readers.files import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class ColumnKind(StrEnum):
    """What an `in_` column holds: Arrow's names, and `json` for JSON text."""

    INT64 = "int64"
    DOUBLE = "double"
    BOOL = "bool"
    STRING = "string"
    TIMESTAMP = "timestamp[us]"
    TIMESTAMP_UTC = "timestamp[us, UTC]"
    DATE = "date"
    JSON = "json"


# What `dataset.types` may ask for.
OVERRIDES: Final = (ColumnKind.INT64, ColumnKind.DOUBLE, ColumnKind.BOOL, ColumnKind.STRING)


def merge_kinds(files: Iterable[Mapping[str, ColumnKind | None]]) -> dict[str, ColumnKind]:
    """Return the kind of every column over several files, in order of appearance; None stands for all null.

    int64 and double make double, any other two kinds json; a column that is null everywhere is a string.
    """
    merged: dict[str, ColumnKind | None] = {}
    for columns in files:
        for name, kind in columns.items():
            merged[name] = _merge(merged.get(name), kind)
    return {name: kind or ColumnKind.STRING for name, kind in merged.items()}


def decide_kinds(
    found: Mapping[str, ColumnKind], overrides: Mapping[str, str], source: Mapping[str, ColumnKind] | None
) -> dict[str, ColumnKind]:
    """Return the final kinds: `overrides` over what the files declare (`source`) over what the values show (`found`).

    Raises DatasetError for an override that names no column or no kind.
    """
    kinds = {**(source or {}), **{name: kind for name, kind in found.items() if name not in (source or {})}}
    for name, text in overrides.items():
        if name not in kinds:
            raise DatasetError(f"dataset.types: there is no column {name!r}", hint=did_you_mean(name, kinds))
        if text not in OVERRIDES:
            allowed = ", ".join(OVERRIDES)
            raise DatasetError(f"dataset.types: {text!r} is no type for column {name!r}", hint=f"one of {allowed}")
        kinds[name] = ColumnKind(text)
    return kinds


def _merge(one: ColumnKind | None, other: ColumnKind | None) -> ColumnKind | None:
    if one is None or other is None or one is other:
        return one or other
    numbers = {ColumnKind.INT64, ColumnKind.DOUBLE}
    return ColumnKind.DOUBLE if {one, other} == numbers else ColumnKind.JSON
