"""Columns without an object for each row: sequences like any other, and the same arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from runner.sinks import JoinedTexts, Repeated
from runner.sinks.columns import array_of


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        (Repeated("a", 3), ["a", "a", "a"], pa.string()),
        (Repeated(None, 3), [None] * 3, pa.list_(pa.string())),
        (Repeated(7, 2), [7, 7], pa.int32()),
        (Repeated(1_700_000_000_000_000, 2), [1_700_000_000_000_000] * 2, pa.timestamp("us", tz="UTC")),
        (Repeated(value=True, rows=2), [True, True], pa.bool_()),
        (Repeated("a", 0), [], pa.string()),
        (JoinedTexts("aabbcc", 2), ["aa", "bb", "cc"], pa.string()),
        (JoinedTexts("", 2), [], pa.string()),
        (np.arange(3, dtype=np.int32), [0, 1, 2], pa.int32()),
        (range(3), [0, 1, 2], pa.int32()),
        ([b"body"], [b"body"], pa.large_binary()),
        ([b""], [b""], pa.large_binary()),
        ([None], [None], pa.large_binary()),
        (np.arange(6, dtype=np.float32).reshape(3, 2), [[0, 1], [2, 3], [4, 5]], pa.list_(pa.float32())),
        (np.full((1, 2), np.nan, np.float32), [[None, None]], pa.list_(pa.float32())),
    ],
)
def test_a_column_is_the_array_of_its_values(column: Any, values: list[Any], kind: pa.DataType) -> None:
    made = array_of(column, kind)
    made.validate(full=True)
    assert made == pa.array(values, kind)
    if isinstance(column, (Repeated, JoinedTexts)):
        assert list(column) == values
        assert [column[place] for place in range(-len(values), 0)] == values
        assert column[1:] == values[1:]
        assert len(column) == len(values)
        with pytest.raises(IndexError):
            column[len(values)]
