"""Owns columns that become Arrow arrays without a Python object for each row; as sequences they are like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLOAT_LISTS = pa.list_(pa.float32())
_NO_VECTOR = np.empty(0, np.float32)


class _Column(Sequence[Any]):
    """A sequence whose slices are lists."""

    __slots__ = ()

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        places = range(len(self))[place]
        return list(map(self._at, places)) if isinstance(places, range) else self._at(places)

    def _at(self, place: int) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Repeated(_Column):
    """The same value in each of `count` rows."""

    value: Any
    count: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.count

    def _at(self, place: int) -> Any:
        del place
        return self.value


@dataclass(frozen=True, slots=True)
class JoinedTexts(_Column):
    """ASCII texts of `width` characters each, behind one another."""

    text: str
    width: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.text) // self.width

    def _at(self, place: int) -> str:
        return self.text[place * self.width : (place + 1) * self.width]


def array_of(values: Sequence[Any] | NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return a column as an Arrow array of a type."""
    if isinstance(values, Repeated):
        return _repeated(values, kind)
    if isinstance(values, JoinedTexts) and kind == pa.string():
        return _joined(values)
    if kind == _FLOAT_LISTS:
        return _float_lists(values, kind)
    if kind == pa.large_binary() and len(values) == 1 and isinstance(values[0], bytes):
        return _one_body(values[0])
    return pa.array(values if isinstance(values, (list, tuple, np.ndarray)) else list(values), kind)


def _repeated(column: Repeated, kind: pa.DataType) -> pa.Array:
    if column.value is None:
        return pa.nulls(column.count, kind)
    return pa.repeat(pa.array([column.value], kind)[0], column.count)


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
