"""Owns the first pass's view of the columns: which types of values each one holds, and so which kind it is."""

from __future__ import annotations

import math
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from runner.errors import DatasetError
from runner.readers.kinds import ColumnKind, decide_kinds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_COLUMNS: Final = 4096

# One bit per type of value. Ints and floats mix to double; any other mixture is JSON text (cells: a string).
_NULL, _BOOL, _INT, _FLOAT, _STR, _NESTED = 0, 1, 2, 4, 8, 16
_BITS: Final[dict[type, int]] = {
    type(None): _NULL,
    bool: _BOOL,
    int: _INT,
    float: _FLOAT,
    str: _STR,
    list: _NESTED,
    dict: _NESTED,
}
_KINDS: Final = {
    _NULL: ColumnKind.STRING,
    _BOOL: ColumnKind.BOOL,
    _INT: ColumnKind.INT64,
    _FLOAT: ColumnKind.DOUBLE,
    _INT | _FLOAT: ColumnKind.DOUBLE,
    _STR: ColumnKind.STRING,
}
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)")
_INT64: Final = range(-(1 << 63), 1 << 63)


class ColumnScan:
    """Sees JSON values. Memory grows with the number of columns only."""

    __slots__ = ("_masks",)

    def __init__(self) -> None:
        self._masks: dict[str, int] = {}

    def update(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take note of some rows. Raises DatasetError where there are more than 4096 columns."""
        masks, bits = self._masks, _BITS
        try:
            if rows and set(map(len, rows)) == {len(rows[0])}:
                self._update_alike(rows)
                return
            for row in rows:
                for name, value in row.items():
                    masks[name] |= bits[type(value)]
        except KeyError:
            # A new column, or others than the first row's. Seeing a row twice changes nothing, so all are taken again.
            _add_columns(masks, rows)
            for row in rows:
                for name, value in row.items():
                    masks[name] |= bits.get(type(value), _NESTED)

    def _update_alike(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take note of rows with as many columns as the first, by the column. Raises KeyError where one is new."""
        for name in rows[0]:
            for kind in set(map(type, map(itemgetter(name), rows))):
                self._masks[name] |= _BITS[kind]

    def kinds(
        self, overrides: Mapping[str, str], source: Mapping[str, ColumnKind] | None = None
    ) -> dict[str, ColumnKind]:
        """Return the kind of every column, in order of appearance. Raises DatasetError for an unknown override."""
        found = {name: _KINDS.get(mask, ColumnKind.JSON) for name, mask in self._masks.items()}
        return decide_kinds(found, overrides, source)


class CellScan:
    """Sees the cells of CSV and TSV files, where numbers and booleans are text: `007` stays a string."""

    __slots__ = ("_masks",)

    def __init__(self) -> None:
        self._masks: dict[str, int] = {}

    def update(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take note of some rows. Raises DatasetError where there are more than 4096 columns."""
        masks = self._masks
        if any(not masks.keys() >= row.keys() for row in rows):
            _add_columns(masks, rows)
        for row in rows:
            for name, cell in row.items():
                if masks[name] < _STR:
                    masks[name] |= _cell_bit(cell)

    def kinds(
        self, overrides: Mapping[str, str], source: Mapping[str, ColumnKind] | None = None
    ) -> dict[str, ColumnKind]:
        """Return the kind of every column, in order of appearance. Raises DatasetError for an unknown override."""
        found = {name: _KINDS.get(mask, ColumnKind.STRING) for name, mask in self._masks.items()}
        return decide_kinds(found, overrides, source)


def _add_columns(masks: dict[str, int], rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        for name in row:
            masks.setdefault(name, _NULL)
        if len(masks) > MAX_COLUMNS:
            raise DatasetError(
                f"the dataset has more than {MAX_COLUMNS} columns",
                hint="put keys that differ from row to row into one nested column",
            )


def _cell_bit(cell: str) -> int:
    if not cell:
        return _NULL
    if _INTEGER.fullmatch(cell):
        return _INT if int(cell) in _INT64 else _STR
    if _NUMBER.fullmatch(cell):
        return _FLOAT if math.isfinite(float(cell)) else _STR
    return _BOOL if cell.lower() in {"true", "false"} else _STR
