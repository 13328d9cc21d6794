"""Owns what the readers give out: batches of rows, bad rows, and the choice of which rows are wanted."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from runner.readers.files import DatasetFile

# One element per row over all files, true (or 1) where the row is to be given out.
Wanted: TypeAlias = npt.NDArray[np.bool_] | npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used. `line` is its line number (columnar files: row number), counted from 1."""

    line: int
    reason: str


Row: TypeAlias = dict[str, Any] | BadRow


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Some rows of one file; `numbers`, `lines` and `rows` have the same length.

    `numbers` are row numbers over all files, from 0, that count every row that is not blank, bad ones too. `lines` are
    line numbers in the file (columnar files: row numbers), from 1. Values of `rows` are JSON-compatible: None, bool,
    int, finite float, str, list, dict.
    """

    file: str
    numbers: Sequence[int]
    lines: Sequence[int]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What a dataset may make the reader hold or unpack, in bytes.

    A longer row is a bad row. Past `unchecked_bytes`, a compressed file may unpack to `expansion` times its own size;
    past `unpacked_bytes`, a columnar one is not unpacked into a temporary file.
    """

    row_bytes: int = 64 << 20
    unchecked_bytes: int = 1 << 30
    expansion: int = 1000
    unpacked_bytes: int = 64 << 30


LIMITS: Final = ReadLimits()


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Which rows to give out (all where `wanted` is None) and in what portions. Reading may stop at number `end`."""

    wanted: Wanted | None = None
    batch_rows: int = 512
    batch_bytes: int = 4 << 20
    limits: ReadLimits = field(default_factory=ReadLimits)
    end: int = sys.maxsize


# Gives out the rows of one file from a first row number on, and returns the number after its last row (or any number
# from `end` on, where it stopped there).
Reader: TypeAlias = "Callable[[DatasetFile, ReadPlan, int], Generator[RowBatch, None, int]]"


def end_of(wanted: Wanted | None) -> int:
    """Return the number after the last wanted row."""
    if wanted is None:
        return sys.maxsize
    return wanted.size - int(np.argmax(wanted[::-1])) if wanted.any() else 0


def any_wanted(plan: ReadPlan, first: int, count: int) -> bool:
    """Tell whether one of the `count` rows from number `first` on is wanted."""
    return count > 0 and (plan.wanted is None or bool(plan.wanted[first : first + count].any()))


def wanted_offsets(plan: ReadPlan, first: int, count: int) -> Sequence[int]:
    """Return which of the `count` rows from number `first` on are wanted, as ascending offsets from `first`."""
    if plan.wanted is None:
        return range(count)
    mask = plan.wanted[first : first + count]
    if mask.size == count and mask.all():
        return range(count)
    offsets: list[int] = np.flatnonzero(mask).tolist()
    return offsets


def rows_per_batch(plan: ReadPlan, rows: int, size_bytes: int) -> int:
    """Return how many rows of average size make a batch, where `rows` rows take `size_bytes`; at least 1."""
    fitting = plan.batch_bytes * rows // max(size_bytes, 1)
    return max(1, min(plan.batch_rows, fitting))
