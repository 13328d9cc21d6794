from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import DatasetError
from runner.readers import BadRow, ReadLimits, read_batches

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, content: bytes, name: str = "data.csv", **options: Any) -> list[Any]:
    path = folder / name
    path.write_bytes(content)
    return [row for batch in read_batches([path], **options) for row in batch.rows]


def test_cells_stay_exactly_as_they_are(tmp_path: Path) -> None:
    content = b'version,code,text\n3.10,007, padded \nNaN,,"a ""b"", c"\n1e5,-0,5" pipe\n'
    assert read(tmp_path, content) == [
        {"version": "3.10", "code": "007", "text": " padded "},
        {"version": "NaN", "code": "", "text": 'a "b", c'},
        {"version": "1e5", "code": "-0", "text": '5" pipe'},
    ]


def test_mark_crlf_blank_lines_and_quoted_line_feeds(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b'\xef\xbb\xbf\r\n"a",b\r\n\r\n"1\r\n\n2",x\r\n   \r\n3,"y"')
    (batch,) = read_batches([path])
    assert batch.rows == [{"a": "1\r\n\n2", "b": "x"}, {"a": "3", "b": "y"}]
    assert (list(batch.lines), list(batch.numbers)) == ([4, 8], [0, 1])


def test_an_empty_quoted_cell_is_a_row(tmp_path: Path) -> None:
    assert read(tmp_path, b'a\n""\n\nx\n') == [{"a": ""}, {"a": "x"}]


def test_tabs_separate_tsv(tmp_path: Path) -> None:
    assert read(tmp_path, b'a\tb,c\n1,5\t"x\ty"\n', "data.tsv") == [{"a": "1,5", "b,c": "x\ty"}]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"1", "1 cells, but the header names 2 columns"),
        (b"1,2,3", "3 cells, but the header names 2 columns"),
        (b"\xe4,1", "invalid UTF-8 at byte 1 of line 3"),
        (b'"1\n\xe4\n2",1', "invalid UTF-8 at byte 1 of line 4"),
        (b"1" * 50 + b",2", "row is longer than 40 bytes"),
        (b'"' + b"1\n" * 30 + b'",2', "row is longer than 40 bytes"),
        (b'"1"2,3', "not valid CSV: ',' expected after '\"'"),
        (b'1,"2', "not valid CSV: unexpected end of data"),
        (b"1,2\r3,4", "not valid CSV: new-line character seen in unquoted field"),
    ],
)
def test_bad_rows_say_what_is_wrong(tmp_path: Path, bad: bytes, reason: str) -> None:
    rows = read(tmp_path, b"a,b\nx,y\n" + bad, limits=ReadLimits(row_bytes=40))
    assert rows[0] == {"a": "x", "b": "y"}
    assert isinstance(rows[1], BadRow)
    assert rows[1].line == 3
    assert rows[1].reason.startswith(reason)


@pytest.mark.parametrize("bad", [b"1", b"\xe4,1", b"1" * 50 + b",2", b'"1"2,3', b'"\xff\n",2'])
def test_rows_after_a_bad_one_are_read(tmp_path: Path, bad: bytes) -> None:
    rows = read(tmp_path, b"a,b\n" + bad + b"\nx,y\n", limits=ReadLimits(row_bytes=40))
    assert rows[1:] == [{"a": "x", "b": "y"}]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b",b\n", "1: column 1 has no name"),
        (b"\na, ,c\n", "2: column 2 has no name"),
        (b"a,b,a\n", "1: two columns are named 'a'"),
        (b"a,\xff\n", "1: the header cannot be read: invalid UTF-8"),
        (b'"a\n', "1: the header cannot be read: not valid CSV"),
    ],
)
def test_a_bad_header_is_a_dataset_error(tmp_path: Path, header: bytes, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, header + b"1,2,3\n")
    assert f"data.csv:{message}" in caught.value.message


def test_a_cell_longer_than_the_csv_modules_own_limit_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, b"a\n" + b"x" * 200_000) == [{"a": "x" * 200_000}]


CELLS = st.text(st.characters(codec="utf-8"), max_size=8)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), max_size=8),
    style=st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
)
def test_what_the_csv_module_writes_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], style: tuple[str, Any]
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=style[0], quoting=style[1]).writerows([("a", "b"), *rows])
    expected = [{"a": a, "b": b} for a, b in rows]
    assert read(tmp_path_factory.mktemp("rows"), text.getvalue().encode()) == expected
