from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import DatasetError
from runner.readers import BadRow, read_batches
from runner.readers.jsonl import _has_long_digits
from runner.readers.streams import READ_BYTES

if TYPE_CHECKING:
    from pathlib import Path

BIG = 123456789012345678901234567890


def read(folder: Path, content: bytes) -> list[Any]:
    path = folder / "data.jsonl"
    path.write_bytes(content)
    return [row for batch in read_batches([path]) for row in batch.rows]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b'{"a": 1, "": 2}', {"a": 1, "": 2}),
        (b"{}", {}),
        (b' \t{"a": 1} \r', {"a": 1}),
        ('{"ä": "\u2028 😀"}'.encode(), {"ä": "\u2028 😀"}),
        (b'{"a": NaN, "b": [Infinity, -Infinity, 1.5]}', {"a": None, "b": [None, None, 1.5]}),
        (b'{"a": 1e400, "b": -1e400}', {"a": None, "b": None}),
        (rb'{"\ud83d": ["x\udc00y", {"k": "\ud83d\ude00"}]}', {"\ufffd": ["x\ufffdy", {"k": "😀"}]}),
        (b'{"a": %d, "b": -%d, "c": [%d]}' % (BIG, BIG, 2**64), {"a": BIG, "b": -BIG, "c": [2**64]}),
        (b'{"a": 18446744073709551615}', {"a": 2**64 - 1}),
        (b'{"a": 0.%d}' % BIG, {"a": 0.12345678901234568}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": "%s"}' % (b"0" * 30), {"a": "0" * 30}),
    ],
)
def test_good_rows(tmp_path: Path, line: bytes, row: dict[str, Any]) -> None:
    (read_row,) = read(tmp_path, line)
    assert read_row == row
    assert list(map(type, read_row.values())) == list(map(type, row.values()))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "row is a list, not an object"),
        (b'"a"', "row is a string, not an object"),
        (b"1", "row is a number, not an object"),
        (b"NaN", "row is null, not an object"),
        (b"null", "row is null, not an object"),
        (b"true", "row is a boolean, not an object"),
        (b'{"a": 1', "not valid JSON: Expecting ',' delimiter (column 8)"),
        (b'{"a": 1} {"b": 2}', "not valid JSON: Extra data (column 10)"),
        (b'{"a": 1},', "not valid JSON: Extra data (column 9)"),
        (b'{"a": "x\xff"}', "invalid UTF-8 at byte 9 of the line"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not valid JSON: an integer with too many digits"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b"\x00", "not valid JSON: Expecting value (column 1)"),
    ],
)
def test_bad_rows_say_what_is_wrong_and_the_rest_is_read(tmp_path: Path, line: bytes, reason: str) -> None:
    good = {"a": "b"}
    content = b'{"a":"b"}\n' + line + b'\n{"a":"b"}\n' + line
    assert read(tmp_path, content) == [good, BadRow(2, reason), good, BadRow(4, reason)]


@pytest.mark.parametrize("shift", range(-4, 34))
def test_a_long_integer_across_two_pieces_of_the_file_stays_exact(tmp_path: Path, shift: int) -> None:
    fill = b'{"a":"%s"}\n' % (b"x" * (READ_BYTES - 12 - shift))
    assert read(tmp_path, fill + b'{"a":%d}\n' % BIG)[1] == {"a": BIG}


def test_byte_order_mark_crlf_and_blank_lines(tmp_path: Path) -> None:
    rows = read(tmp_path, b'\xef\xbb\xbf\r\n{"a": 1}\r\n \t\x0b\x0c\r\n{"a": 2}\r\n\r\n\n{"a": 3')
    assert rows[:2] == [{"a": 1}, {"a": 2}]
    assert rows[2].line == 7


def test_lines_count_blank_lines_and_numbers_do_not(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'\n\n{"a": 1}\n\n{"a": 2}\n')
    (batch,) = read_batches([path])
    assert (list(batch.lines), list(batch.numbers)) == ([3, 5], [0, 1])


def test_utf16_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"data\.jsonl: is UTF-16 text") as caught:
        read(tmp_path, '{"a": 1}\n'.encode("utf-16"))
    assert caught.value.hint == "save it as UTF-8"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), max_size=12))
def test_what_the_stdlib_writes_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    content = "".join(json.dumps(row) + "\n" for row in rows)
    # What no JSON value can be is null, what no text can hold U+FFFD: the rules the reader promises, said by hand.
    expected = json.loads(
        json.dumps([json.loads(json.dumps(row), parse_constant=lambda _: None) for row in rows], ensure_ascii=False)
        .encode("utf-16", "surrogatepass")
        .decode("utf-16", "replace")
    )
    assert read(tmp_path_factory.mktemp("rows"), content.encode()) == expected


@settings(deadline=None)
@given(before=st.binary(max_size=40), digits=st.integers(20, 60), after=st.binary(max_size=40))
def test_every_run_of_20_digits_is_found(before: bytes, digits: int, after: bytes) -> None:
    assert _has_long_digits(before + b"1234567890" * (digits // 10) + b"7" * (digits % 10) + after)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**19 - 1), max_size=20))
def test_shorter_numbers_stay_with_orjson(numbers: list[int]) -> None:
    assert not _has_long_digits(json.dumps(numbers).encode())
