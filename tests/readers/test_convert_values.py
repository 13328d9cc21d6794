from __future__ import annotations

import datetime as dt
import json
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.readers import ColumnKind, ColumnScan, to_kind

NOON = dt.datetime(2024, 5, 6, 12, 0, 0, 500)  # noqa: DTZ001 - the kind without a time zone
DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "kind", "converted", "note"),
    [
        (5, "int64", 5, None),
        (-(2**63), "int64", -(2**63), None),
        (2**63, "int64", None, "integer beyond int64"),
        (10**30, "int64", None, "integer beyond int64"),
        ("12", "int64", 12, None),
        (" 007 ", "int64", 7, None),
        ("9" * 30, "int64", None, "integer beyond int64"),
        ("9" * 9999, "int64", None, "integer beyond int64"),
        ("", "int64", None, None),
        ("1.5", "int64", None, "not an integer"),
        ("٣", "int64", None, "not an integer"),
        (3.0, "int64", 3, None),
        (3.5, "int64", None, "not an integer"),
        (1e300, "int64", None, "integer beyond int64"),
        (True, "int64", None, "not an integer"),
        ([1], "int64", None, "not an integer"),
        (5, "double", 5.0, None),
        (2.5, "double", 2.5, None),
        ("1e5", "double", 100000.0, None),
        ("", "double", None, None),
        ("x", "double", None, "not a number that a double holds"),
        (10**400, "double", None, "not a number that a double holds"),
        ("1e400", "double", None, "not a finite number"),
        ("nan", "double", None, "not a finite number"),
        (True, "double", None, "not a number"),
        ({}, "double", None, "not a number"),
        (True, "bool", True, None),
        ("TRUE", "bool", True, None),
        ("false", "bool", False, None),
        ("", "bool", None, None),
        ("1", "bool", None, "not a boolean"),
        (1, "bool", None, "not a boolean"),
        ("ä", "string", "ä", None),
        ("", "string", "", None),
        ("a\ud800b", "string", "a\ufffdb", "broken code points replaced by U+FFFD"),
        (12, "string", "12", None),
        (True, "string", "true", None),
        ({"a": [1, "ä"]}, "string", '{"a":[1,"ä"]}', None),
        ([1, {"a": None}], "json", '[1,{"a":null}]', None),
        ("text", "json", '"text"', None),
        ("", "json", '""', None),
        ([10**30], "json", f"[{10**30}]", None),
        (["\ud800"], "json", '["\ufffd"]', "broken code points replaced by U+FFFD"),
        (DEEP, "json", None, "nested too deeply"),
        ("2024-05-06T12:00:00.000500", "timestamp[us]", NOON, None),
        ("2024-05-06T12:00:00.000500123", "timestamp[us]", NOON, None),
        ("2024-05-06T14:00:00.000500+02:00", "timestamp[us]", NOON, None),
        ("2024-05-06T14:00:00.000500+02:00", "timestamp[us, UTC]", NOON.replace(tzinfo=dt.UTC), None),
        ("2024-05-06T12:00:00.000500", "timestamp[us, UTC]", NOON.replace(tzinfo=dt.UTC), None),
        ("", "timestamp[us]", None, None),
        ("yesterday", "timestamp[us]", None, "not a timestamp"),
        (5, "timestamp[us, UTC]", None, "not a timestamp"),
        ("0001-01-01T00:00:00+02:00", "timestamp[us, UTC]", None, "not a timestamp"),
        ("2024-05-06", "date", NOON.date(), None),
        ("2024-05-06T12:00:00", "date", None, "not a date"),
        (5, "date", None, "not a date"),
    ],
)
def test_values_become_what_the_column_takes(value: Any, kind: str, converted: Any, note: str | None) -> None:
    result = to_kind(value, ColumnKind(kind))
    assert result == (converted, note)
    assert type(result[0]) is type(converted)


@pytest.mark.parametrize("kind", list(ColumnKind))
def test_null_stays_null(kind: ColumnKind) -> None:
    assert to_kind(None, kind) == (None, None)


ARROW = {
    ColumnKind.INT64: pa.int64(),
    ColumnKind.DOUBLE: pa.float64(),
    ColumnKind.BOOL: pa.bool_(),
    ColumnKind.STRING: pa.string(),
    ColumnKind.TIMESTAMP: pa.timestamp("us"),
    ColumnKind.TIMESTAMP_UTC: pa.timestamp("us", "UTC"),
    ColumnKind.DATE: pa.date32(),
    ColumnKind.JSON: pa.string(),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(value=JSON, kind=st.sampled_from(ColumnKind))
def test_arrow_takes_every_converted_value(value: Any, kind: ColumnKind) -> None:
    converted, note = to_kind(value, kind)
    assert pa.array([converted], ARROW[kind]).to_pylist() == [converted]
    assert note is None or converted is None or "U+FFFD" in note


@settings(deadline=None)
@given(values=st.lists(JSON, min_size=1, max_size=5))
def test_nothing_but_large_integers_is_lost_in_the_kind_that_the_scan_finds(values: list[Any]) -> None:
    scan = ColumnScan()
    scan.update([{"column": value} for value in values])
    kind = scan.kinds({})["column"]
    for value in values:
        converted, note = to_kind(value, kind)
        if note:
            assert isinstance(value, int)
            assert abs(value) >= 2**63
        elif kind is ColumnKind.JSON and value is not None:
            assert json.loads(converted) == value
        else:
            assert converted == (float(value) if kind is ColumnKind.DOUBLE and value is not None else value)


def test_json_text_is_compact_and_what_orjson_writes() -> None:
    value = {"a": [1, 2.5, None, {"b": "ä"}]}
    assert to_kind(value, ColumnKind.JSON) == (orjson.dumps(value).decode(), None)
