from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.errors import DatasetError
from runner.readers import BadRow, ColumnKind, ReadLimits, read_batches, source_kinds
from runner.readers.values import column_values

if TYPE_CHECKING:
    from pathlib import Path

NOON = dt.datetime(2024, 5, 6, 12, 0, 0, 500, tzinfo=dt.UTC)
NOON_US = int(NOON.timestamp()) * 10**6 + 500
IN_YORK = pa.timestamp("ns", "America/New_York")

# Arrow type, a value to write, what is read, the kind.
TYPES: list[tuple[pa.DataType, Any, Any, ColumnKind]] = [
    (pa.int8(), -5, -5, ColumnKind.INT64),
    (pa.uint64(), 2**64 - 1, 2**64 - 1, ColumnKind.INT64),
    (pa.float16(), np.float16(1.5), 1.5, ColumnKind.DOUBLE),
    (pa.float32(), 0.5, 0.5, ColumnKind.DOUBLE),
    (pa.float64(), math.nan, None, ColumnKind.DOUBLE),
    (pa.float64(), -math.inf, None, ColumnKind.DOUBLE),
    (pa.bool_(), False, False, ColumnKind.BOOL),
    (pa.string(), "ä\0😀", "ä\0😀", ColumnKind.STRING),
    (pa.large_string(), "", "", ColumnKind.STRING),
    (pa.dictionary(pa.int8(), pa.string()), "word", "word", ColumnKind.STRING),
    (pa.null(), None, None, ColumnKind.STRING),
    (pa.binary(), b"\xff\0", "/wA=", ColumnKind.STRING),
    (pa.large_binary(), b"", "", ColumnKind.STRING),
    (pa.binary(2), b"ab", "YWI=", ColumnKind.STRING),
    (pa.decimal128(5, 2), Decimal("1.50"), "1.50", ColumnKind.STRING),
    (pa.decimal256(60, 0), Decimal(10**50), str(10**50), ColumnKind.STRING),
    (pa.date32(), NOON.date(), "2024-05-06", ColumnKind.DATE),
    (pa.date64(), NOON.date(), "2024-05-06", ColumnKind.DATE),
    (pa.timestamp("s"), NOON.replace(microsecond=0, tzinfo=None), "2024-05-06T12:00:00", ColumnKind.TIMESTAMP),
    (pa.timestamp("us"), NOON.replace(tzinfo=None), "2024-05-06T12:00:00.000500", ColumnKind.TIMESTAMP),
    (pa.timestamp("ns"), NOON_US * 1000 + 7, "2024-05-06T12:00:00.000500", ColumnKind.TIMESTAMP),
    (pa.timestamp("ms", "UTC"), NOON, "2024-05-06T12:00:00+00:00", ColumnKind.TIMESTAMP_UTC),
    (IN_YORK, NOON_US * 1000, "2024-05-06T12:00:00.000500+00:00", ColumnKind.TIMESTAMP_UTC),
    (pa.time32("ms"), dt.time(1, 2, 3), "01:02:03", ColumnKind.STRING),
    (pa.time64("ns"), 1500, "00:00:00.000001", ColumnKind.STRING),
    (pa.duration("us"), dt.timedelta(days=1, microseconds=1_500_000), "PT86401.5S", ColumnKind.STRING),
    (pa.duration("ms"), dt.timedelta(microseconds=-250_000), "-PT0.25S", ColumnKind.STRING),
    (pa.list_(pa.int64()), [1, None, 2], [1, None, 2], ColumnKind.JSON),
    (pa.list_(pa.float64()), [1.5, None, math.nan], [1.5, None, None], ColumnKind.JSON),
    (pa.large_list(pa.string()), [], [], ColumnKind.JSON),
    (pa.list_(pa.float32(), 2), [0.5, 0.25], [0.5, 0.25], ColumnKind.JSON),
    (pa.list_(pa.list_(IN_YORK)), [[0], None], [["1970-01-01T00:00:00+00:00"], None], ColumnKind.JSON),
    (pa.list_(pa.dictionary(pa.int8(), pa.string())), ["a", "b"], ["a", "b"], ColumnKind.JSON),
    (
        pa.struct({"a": pa.int64(), "b": pa.list_(pa.struct({"c": pa.timestamp("ns"), "d": pa.binary()}))}),
        {"a": None, "b": [{"c": 1, "d": b"x"}, None, {"c": None, "d": None}]},
        {"a": None, "b": [{"c": "1970-01-01T00:00:00", "d": "eA=="}, None, {"c": None, "d": None}]},
        ColumnKind.JSON,
    ),
    (pa.struct({"role": pa.string()}), {"role": "user"}, {"role": "user"}, ColumnKind.JSON),
    (pa.map_(pa.string(), pa.float64()), [("a", 1.0), ("b", math.nan)], {"a": 1.0, "b": None}, ColumnKind.JSON),
    (pa.map_(pa.int64(), pa.date32()), [(1, NOON.date())], [[1, "2024-05-06"]], ColumnKind.JSON),
]
NAMES = [str(data_type) for data_type, *_ in TYPES]


def table_of(data_type: pa.DataType, value: Any) -> pa.Table:
    return pa.table({"column": pa.array([value, None, value], data_type)})


@pytest.mark.parametrize(("data_type", "value", "expected", "kind"), TYPES, ids=NAMES)
def test_arrow_values_become_json_values(
    tmp_path: Path, data_type: pa.DataType, value: Any, expected: Any, kind: ColumnKind
) -> None:
    table, path = table_of(data_type, value), tmp_path / "data.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    (batch,) = read_batches([path])
    assert batch.rows == [{"column": expected}, {"column": None}, {"column": expected}]
    assert isinstance(batch.rows[0], dict)
    assert type(batch.rows[0]["column"]) is type(expected)
    assert source_kinds([path]) == {"column": kind}


@pytest.mark.parametrize(("data_type", "value", "expected", "kind"), TYPES, ids=NAMES)
def test_parquet_values_become_json_values(
    tmp_path: Path, data_type: pa.DataType, value: Any, expected: Any, kind: ColumnKind
) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(table_of(data_type, value), path)
    (batch,) = read_batches([path])
    assert batch.rows == [{"column": expected}, {"column": None}, {"column": expected}]
    assert source_kinds([path]) == {"column": kind}


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array([[1.0], [math.nan]], pa.list_view(pa.float64())), [[1.0], [None]]),
        (pa.RunEndEncodedArray.from_arrays(pa.array([2, 3]), pa.array(["x", None])), ["x", "x", None]),
        (pa.array([(1, 2, 1_500_000_000)], pa.month_day_nano_interval()), ["P1M2DT1.500000000S"]),
        (pa.array([b"\0" * 15 + b"\1"], pa.uuid()), ["00000000-0000-0000-0000-000000000001"]),
    ],
)
def test_rarer_arrow_types(array: pa.Array, expected: list[Any]) -> None:
    assert column_values(array) == expected


def test_temporal_columns_are_read_without_pandas_and_time_zones(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({str(t): pa.array([v, None], t) for t, v, *_ in TYPES if str(t) != "null"}), path)
    code = """if True:
        import sys
        from pathlib import Path
        from runner.readers import read_batches
        print(*(type(row).__name__ for batch in read_batches([Path(sys.argv[1])]) for row in batch.rows))
        print("pandas" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dict", "dict", "False"]


def test_a_value_that_python_cannot_hold_is_a_bad_row(tmp_path: Path) -> None:
    far = pa.array([0, 10**18, 1], pa.timestamp("us"))
    broken = pa.StringArray.from_buffers(2, pa.array([0, 2, 4], pa.int32()).buffers()[1], pa.py_buffer(b"ok\xff\xfe"))
    paths = [tmp_path / "far.parquet", tmp_path / "broken.parquet"]
    pq.write_table(pa.table({"id": [1, 2, 3], "when": far}), paths[0])
    pq.write_table(pa.table({"text": broken}), paths[1])
    rows = [row for batch in read_batches(paths) for row in batch.rows]
    assert [type(row) for row in rows] == [dict, BadRow, dict, dict, BadRow]
    assert rows[0] == {"id": 1, "when": "1970-01-01T00:00:00"}
    assert isinstance(rows[1], BadRow)
    assert isinstance(rows[4], BadRow)
    assert (rows[1].line, rows[4].line) == (2, 2)
    assert "column 'when'" in rows[1].reason
    assert "column 'text'" in rows[4].reason


def test_a_bad_row_keeps_its_place_where_rows_before_it_are_not_wanted(tmp_path: Path) -> None:
    path = tmp_path / "far.parquet"
    pq.write_table(pa.table({"when": pa.array([0, 0, 10**18, 0], pa.timestamp("us"))}), path)
    (batch,) = read_batches([path], wanted=np.array([False, False, True, False]))
    assert (batch.numbers, batch.lines) == ([2], [3])
    assert isinstance(batch.rows[0], BadRow)
    assert batch.rows[0].line == 3


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_row_above_the_cap_is_a_bad_row(tmp_path: Path, suffix: str) -> None:
    table = pa.table({"text": ["short", "x" * 2000, "short"]})
    path = tmp_path / f"data{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    rows = [row for batch in read_batches([path], limits=ReadLimits(row_bytes=1000)) for row in batch.rows]
    assert rows == [{"text": "short"}, BadRow(2, "row is longer than 1000 bytes"), {"text": "short"}]


def test_rows_without_columns_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "data.arrow"
    batch = pa.record_batch({"a": [1, 2]}).select([])
    with pa.ipc.new_stream(path, batch.schema) as writer:
        writer.write_batch(batch)
    assert [row for batch in read_batches([path]) for row in batch.rows] == [{}, {}]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"ARROW1\0\0nothing", b"x" * 1000])
def test_what_is_no_such_file_is_a_dataset_error(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"cannot be read as {suffix}, after row 0"):
        list(read_batches([path]))
    with pytest.raises(DatasetError):
        source_kinds([path])


def test_damage_inside_a_parquet_file_names_the_row_reached(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    table = pa.table({"text": [f"row {number}" for number in range(100)]})
    pq.write_table(table, path, row_group_size=10, compression="none", write_page_checksum=True, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[content.index(b"row 57")] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="after row 50: "):
        list(read_batches([path]))
    wanted = np.zeros(100, dtype=bool)
    wanted[[3, 99]] = True
    rows = [row for batch in read_batches([path], wanted=wanted) for row in batch.rows]
    assert rows == [{"text": "row 3"}, {"text": "row 99"}], "row groups without a wanted row are not read"


def test_broken_offsets_in_an_arrow_file_are_a_dataset_error(tmp_path: Path) -> None:
    path = tmp_path / "data.arrow"
    table = pa.table({"text": pa.array(["abcdefgh"] * 3)})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    content = path.read_bytes()
    sound = np.array([0, 8, 16, 24], "<i4").tobytes()
    assert sound in content
    path.write_bytes(content.replace(sound, np.array([0, 8, 16, 1 << 30], "<i4").tobytes()))
    with pytest.raises(DatasetError, match="after row 0: "):
        list(read_batches([path]))


def test_feather_1_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.feather"
    path.write_bytes(b"FEA1" + b"\0" * 100)
    with pytest.raises(DatasetError, match="Feather version 1") as caught:
        list(read_batches([path]))
    assert "version 2" in caught.value.hint


def test_two_columns_of_one_name_are_a_dataset_error(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    paths = [tmp_path / "data.parquet", tmp_path / "data.arrow"]
    pq.write_table(table, paths[0])
    with pa.ipc.new_stream(paths[1], table.schema) as writer:
        writer.write_table(table)
    for path in paths:
        with pytest.raises(DatasetError, match="two columns are named 'a'"):
            list(read_batches([path]))
        with pytest.raises(DatasetError, match="two columns are named 'a'"):
            source_kinds([path])


def test_kinds_of_several_files_are_merged(tmp_path: Path) -> None:
    tables = [
        pa.table({"n": [1], "m": ["x"], "late": pa.nulls(1), "same": [1], "none": pa.nulls(1)}),
        pa.table({"n": [1.5], "m": [1], "late": [True], "same": pa.array([2], pa.int8()), "new": [NOON.date()]}),
    ]
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    for path, table in zip(paths, tables, strict=True):
        pq.write_table(table, path)
    assert source_kinds(paths) == {
        "n": "double",
        "m": "json",
        "late": "bool",
        "same": "int64",
        "none": "string",
        "new": "date",
    }
    (tmp_path / "text.jsonl").write_text("{}\n")
    assert source_kinds([*paths, tmp_path / "text.jsonl"]) is None
