"""Owns columns that become Arrow arrays without a Python object for each row; as sequences they are like any other."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLOAT_LISTS = pa.list_(pa.float32())
# Values of these types are compared much quicker than they are converted, and columns of one value are many.
_COMPARED = frozenset({NoneType, str, int})
_NO_VECTOR = np.empty(0, np.float32)


class Repeated(Sequence[Any]):
    """The same value in each of `rows` rows."""

    __slots__ = ("_rows", "value")

    def __init__(self, value: Any, rows: int) -> None:
        self.value = value
        self._rows = range(rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, place: int | slice) -> Any:
        """Return the value, or as many of it as the slice has rows."""
        chosen = self._rows[place]
        return self.value if isinstance(chosen, int) else [self.value] * len(chosen)


class JoinedTexts(Sequence[str]):
    """ASCII texts of `width` characters each, behind one another."""

    __slots__ = ("_starts", "text", "width")

    def __init__(self, text: str, width: int) -> None:
        self.text = text
        self.width = width
        self._starts = range(0, len(text), width)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Return one text, or some of them."""
        chosen = self._starts[place]
        return self._at(chosen) if isinstance(chosen, int) else list(map(self._at, chosen))

    def _at(self, start: int) -> str:
        return self.text[start : start + self.width]


def array_of(values: Sequence[Any] | NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return a column as an Arrow array of a type; NaN in an array of numbers is null."""
    if isinstance(values, Repeated):
        return _repeated(values, kind)
    if isinstance(values, JoinedTexts) and kind == pa.string():
        return _joined(values)
    if kind == _FLOAT_LISTS:
        return _float_lists(values, kind)
    if kind == pa.large_binary() and len(values) == 1 and isinstance(values[0], bytes):
        return _one_body(values[0])
    if isinstance(values, np.ndarray):
        return pa.array(values, kind, from_pandas=True)
    return _listed(values if isinstance(values, (list, tuple)) else list(values), kind)


def _listed(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    first = values[0] if values else None
    if values and type(first) in _COMPARED and first == values[-1] and values.count(first) == len(values):
        return _repeated(Repeated(first, len(values)), kind)
    return pa.array(values, kind)


def _repeated(column: Repeated, kind: pa.DataType) -> pa.Array:
    if column.value is None:
        return pa.nulls(len(column), kind)
    return pa.repeat(pa.array([column.value], kind)[0], len(column))


def _joined(column: JoinedTexts) -> pa.Array:
    ends = np.arange(len(column) + 1, dtype=np.int32) * np.int32(column.width)
    return pa.StringArray.from_buffers(len(column), pa.py_buffer(ends), pa.py_buffer(column.text.encode("ascii")))


def _one_body(body: bytes) -> pa.Array:
    """Return a column of one value without a copy of it: an answer to a pack has megabytes."""
    ends = pa.py_buffer(np.array([0, len(body)], np.int64))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(body)])


def _float_lists(values: Sequence[Any] | NDArray[np.float32], kind: pa.DataType) -> pa.Array:
    """Return vectors as one array: their buffers joined, no number made an object; NaN in one of them is null."""
    if isinstance(values, np.ndarray):  # a matrix: a vector in each row
        count, length = values.shape
        offsets = np.arange(count + 1, dtype=np.int32) * np.int32(length)
        return pa.ListArray.from_arrays(pa.array(offsets), _numbers(values.reshape(-1), kind), type=kind)
    if not any(isinstance(value, np.ndarray) for value in values):
        return pa.array(list(values), kind)
    vectors = [_NO_VECTOR if value is None else np.asarray(value, dtype=np.float32) for value in values]
    offsets = np.zeros(len(vectors) + 1, np.int32)
    np.cumsum([len(vector) for vector in vectors], out=offsets[1:])
    missing = np.array([value is None for value in values])
    mask = pa.array(missing) if missing.any() else None
    return pa.ListArray.from_arrays(pa.array(offsets), _numbers(np.concatenate(vectors), kind), type=kind, mask=mask)


def _numbers(joined: NDArray[np.float32], kind: pa.DataType) -> pa.Array:
    return pa.array(joined, kind.value_type, from_pandas=bool(np.isnan(joined).any()))
