from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import DatasetError
from runner.readers import CellScan, ColumnKind, ColumnScan
from runner.readers.scan import MAX_COLUMNS


def kind_of(scan: ColumnScan | CellScan, values: list[Any]) -> str:
    scan.update([{"column": value} for value in values])
    return scan.kinds({})["column"].value


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, -2, None], "int64"),
        ([1, 10**30], "int64"),
        ([1, 2.5], "double"),
        ([2.5, None], "double"),
        ([True, None, False], "bool"),
        (["a", "", None], "string"),
        (["1", "2"], "string"),
        ([None], "string"),
        ([True, 1], "json"),
        ([1, "1"], "json"),
        ([1.5, "1"], "json"),
        ([True, "true"], "json"),
        ([[1], None], "json"),
        ([{"a": 1}], "json"),
        (["a", ["a"]], "json"),
        ([1, 2.5, "a"], "json"),
    ],
)
def test_kinds_of_json_values(values: list[Any], kind: str) -> None:
    assert kind_of(ColumnScan(), values) == kind
    assert kind_of(ColumnScan(), values[::-1]) == kind


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "0", ""], "int64"),
        ([str(2**63 - 1), str(-(2**63))], "int64"),
        (["1", str(2**63)], "string"),
        (["1", "9" * 25], "string"),
        (["1.5", "2", "1e5", "-0.5E-3"], "double"),
        (["1e400"], "string"),
        (["007"], "string"),
        (["1", "007"], "string"),
        (["+1"], "string"),
        ([" 1"], "string"),
        (["1_000"], "string"),
        (["٣"], "string"),
        (["1,5"], "string"),
        (["nan"], "string"),
        (["3.10", "3.9"], "double"),
        (["true", "False", "", "TRUE"], "bool"),
        (["true", "1"], "string"),
        (["yes"], "string"),
        (["", ""], "string"),
        (["a", "1"], "string"),
    ],
)
def test_kinds_of_cells(cells: list[str], kind: str) -> None:
    assert kind_of(CellScan(), cells) == kind
    assert kind_of(CellScan(), cells[::-1]) == kind


def naive_kind(values: list[Any]) -> str:
    present = [value for value in values if value is not None]
    types = {type(value) for value in present}
    for allowed, kind in [({str}, "string"), ({bool}, "bool"), ({int}, "int64"), ({int, float}, "double")]:
        if types <= allowed:
            return kind
    return "json"


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
ROWS = st.lists(st.dictionaries(st.sampled_from("abcde"), VALUES), max_size=12)


@settings(deadline=None)
@given(rows=ROWS, portion=st.integers(1, 12))
def test_any_rows_in_any_portions_give_what_a_naive_look_gives(rows: list[dict[str, Any]], portion: int) -> None:
    scan = ColumnScan()
    for start in range(0, len(rows), portion):
        scan.update(rows[start : start + portion])
    columns = list(dict.fromkeys(name for row in rows for name in row))
    expected = {name: naive_kind([row.get(name) for row in rows]) for name in columns}
    assert list(scan.kinds({}).items()) == list(expected.items())


@settings(deadline=None)
@given(cells=st.lists(st.from_regex(r"\A-?[0-9]{0,20}(\.[0-9]{1,3})?\Z") | st.sampled_from(["", "true", "x"])))
def test_a_typed_kind_means_that_every_cell_is_of_that_type(cells: list[str]) -> None:
    kind = kind_of(CellScan(), cells or [""])
    present = [cell for cell in cells if cell]
    if kind == "int64":
        assert {cell for cell in present if str(int(cell)) != cell} <= {"-0"}
    if kind == "double":
        assert not [cell for cell in present if cell.removeprefix("-").startswith("0") and len(cell.split(".")[0]) > 2]
        assert any("." in cell for cell in present)
    if kind == "bool":
        assert set(present) == {"true"}


@pytest.mark.parametrize("scan", [ColumnScan, CellScan])
def test_rows_with_ever_new_keys_are_stopped(scan: type[ColumnScan | CellScan]) -> None:
    seen = scan()
    seen.update([{f"key{number}": "1"} for number in range(MAX_COLUMNS)])
    assert len(seen.kinds({})) == MAX_COLUMNS
    with pytest.raises(DatasetError, match="more than 4096 columns"):
        seen.update([{"one more": "1"}])


@pytest.mark.parametrize("scan", [ColumnScan, CellScan])
def test_overrides_win_over_declared_kinds_and_these_over_seen_ones(scan: type[ColumnScan | CellScan]) -> None:
    seen = scan()
    seen.update([{"a": "x", "b": "x", "c": "x"}])
    kinds = seen.kinds({"a": "int64", "d": "bool"}, {"d": ColumnKind.DATE, "b": ColumnKind.JSON, "a": ColumnKind.JSON})
    assert kinds == {"d": "bool", "b": "json", "a": "int64", "c": "string"}
    assert all(isinstance(kind, ColumnKind) for kind in kinds.values())


def test_an_override_must_name_a_column_and_a_type() -> None:
    scan = ColumnScan()
    scan.update([{"answer": 1}])
    with pytest.raises(DatasetError, match="there is no column 'anwser'") as caught:
        scan.kinds({"anwser": "int64"})
    assert caught.value.hint == "did you mean answer?"
    with pytest.raises(DatasetError, match="'float' is no type for column 'answer'") as caught:
        scan.kinds({"answer": "float"})
    assert caught.value.hint == "one of int64, double, bool, string"


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([])
        ),
        max_size=6,
    )
)
def test_rows_are_seen_together_as_one_by_one(rows: list[dict[str, Any]]) -> None:
    together, each = ColumnScan(), ColumnScan()
    together.update(rows)
    for row in rows:
        each.update([row])
    assert together.kinds({}) == each.kinds({})
