from __future__ import annotations

import contextlib
import json
from typing import Any
from unittest.mock import ANY

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.jsontext import NestingError, loads, scrub

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(JSON)
def test_strict_json_is_read_without_a_note(value: Any) -> None:
    assert loads(orjson.dumps(value)) == (value, None)


@pytest.mark.parametrize(
    ("body", "value", "note"),
    [
        (b"\xef\xbb\xbf{}", {}, "byte-order mark"),
        (b'{"a":"\xff"}', {"a": "\ufffd"}, "invalid UTF-8 at byte 6"),
        (b'{"a":"\\ud83d"}', {"a": "\ufffd"}, "body is not strict JSON"),
        (b'{"\\ud83d":[{"b":"x\\udc00"}]}', {"\ufffd": [{"b": "x\ufffd"}]}, "body is not strict JSON"),
        (b'{"a":-Infinity}', {"a": float("-inf")}, "body is not strict JSON"),
        (b'{"a":1} tail', {"a": 1}, "5 characters after the JSON value"),
        (b'{"a":1}\ndata: [DONE]\n\n', {"a": 1}, "13 characters after the JSON value"),
        (b'  {"a":"tab\there"}', {"a": "tab\there"}, "body is not strict JSON"),
        (b'\xef\xbb\xbf{"a":"\xff"}x', {"a": "\ufffd"}, "byte-order mark; invalid UTF-8"),
        (b"null\0", None, "1 characters after the JSON value"),
        (b'{"a":1,"a":2}', {"a": 2}, None),
        (b'{"a":1,}', {"a": 1}, "trailing comma"),
        (b'[1,[2 , \n ],{"b":",]",},]', [1, [2], {"b": ",]"}], "trailing comma"),
        (b'{"a":"say \\",}\\"",}', {"a": 'say ",}"'}, "trailing comma"),
        (
            b'{"a":NaN,"b":"\xff",}tail',
            {"a": ANY, "b": "\ufffd"},
            "invalid UTF-8 at byte 14; trailing comma; 4 characters",
        ),
    ],
)
def test_what_servers_send_is_read_with_a_note(body: bytes, value: Any, note: str | None) -> None:
    found, said = loads(body)
    assert found == value
    assert said == note if note is None else note in (said or "")


def test_nan_is_read() -> None:
    found, note = loads(b'{"a":NaN}')
    assert found["a"] != found["a"]
    assert note == "body is not strict JSON"


def test_integers_beyond_64_bit_keep_their_digits_where_the_tolerant_parser_reads_them() -> None:
    found, note = loads(b'{"n":' + b"9" * 400 + b"}")
    assert found == {"n": int("9" * 400)}
    assert note == "body is not strict JSON"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"\xef\xbb\xbf",
        b"<html></html>",
        b'{"cut":"in the mid',
        b"{'a':1}",
        b"[1,,]",
        b'{"a":,}',
        b'{"a":1,"b":"cut,}',
        b'{"a":1,',
        b"\xff\xfe",
        b"NUL",
    ],
)
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(body)


def test_commas_are_looked_for_in_time_in_proportion() -> None:
    for body in (b'{"a":1 "b":"' + b'\\"' * 500_000, b'{"a" 1' + b', \n"' * 250_000, b"[1 2" + b"," * 10**6 + b"\\"):
        with pytest.raises(ValueError, match=r"."):
            loads(body)


def test_depth_beyond_the_strict_parser_is_read_and_beyond_both_is_its_own_error() -> None:
    with pytest.raises(NestingError, match="too deeply"):
        loads(b"[" * 100_000 + b"]" * 100_000)
    assert issubclass(NestingError, ValueError)


@given(st.binary())
@example(b"[" * 50_000)
@example(b'{"a":' * 3000 + b"1" + b"}" * 3000)
@example(b"9" * 5000)
@example(b"\xef\xbb\xbf\xef\xbb\xbf{}")
def test_any_bytes_are_a_value_that_utf8_holds_or_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        value, _ = loads(body)
        json.dumps(value, ensure_ascii=False).encode("utf-8")


@given(st.text(alphabet=st.characters(codec=None)))
def test_scrubbed_text_is_utf8_of_the_same_length(text: str) -> None:
    clean = scrub(text)
    clean.encode("utf-8")
    assert len(clean) == len(text)
    assert scrub(clean) == clean
