from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from runner.endpoints.logprobs import read_logprobs
from tests.endpoints.test_logprob_lists import ENTRIES, VALUES, st

_LISTS = st.lists(VALUES | st.dictionaries(st.text(max_size=3), VALUES) | st.lists(ENTRIES), max_size=4) | VALUES


def read(**fields: Any) -> tuple[Any, list[str]]:
    notes: list[str] = []
    return read_logprobs(fields, notes), notes


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        5,
        True,
        [],
        {},
        {"tokens": None},
        {"text_offset": [0]},
        {"tokens": {}, "token_logprobs": "x"},
        {"content": None},
    ],
)
def test_no_log_probabilities_are_null(nothing: Any) -> None:
    notes: list[str] = []
    assert read_logprobs(nothing, notes) is None
    assert notes == []


def test_either_shape_is_told_by_its_own_keys() -> None:
    chat, _ = read(content=[{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}])
    side, _ = read(tokens=["a"], token_logprobs=[-1.0], top_logprobs=[{}])
    assert chat == side


@pytest.mark.parametrize(
    ("fields", "values", "tops", "noted"),
    [
        ({"token_logprobs": [None, -1.0]}, [None, -1.0], [[], []], False),
        ({"token_logprobs": [None, -1.0], "top_logprobs": None}, [None, -1.0], [[], []], False),
        ({"token_logprobs": [None, -1.0], "top_logprobs": [None, {"b": -1}]}, [None, -1.0], [[], ["b"]], False),
        ({"token_logprobs": [-2.0, -1.0], "top_logprobs": [{"a": -2}]}, [-2.0, -1.0], [["a"], []], True),
        ({"token_logprobs": [-2.0]}, [-2.0, None], [[], []], True),
        ({"token_logprobs": [-2.0, -1.0, -3.0]}, [-2.0, -1.0], [[], []], True),
        ({"token_logprobs": None}, [None, None], [[], []], True),
        ({"token_logprobs": [float("-inf"), -9999.0]}, [float("-inf"), -9999.0], [[], []], False),
        ({"token_logprobs": ["-1", 10**400]}, [None, None], [[], []], False),
        ({"token_logprobs": [0, -1], "text_offset": [99, -5, "x"]}, [0.0, -1.0], [[], []], False),
        (
            {"token_logprobs": [0, -1], "top_logprobs": [[{"token": "c", "logprob": -1}], 5]},
            [0.0, -1.0],
            [["c"], []],
            False,
        ),
    ],
)
def test_lists_of_any_length_become_lists_of_one(
    fields: dict[str, Any],
    values: list[float | None],
    tops: list[list[str]],
    noted: bool,  # noqa: FBT001 - a column of the table
) -> None:
    found, notes = read(tokens=["a", "b"], **fields)
    assert found.tokens == ["a", "b"]
    assert found.token_logprobs == values
    assert found.top_tokens == tops
    assert bool(notes) is noted


def test_values_without_tokens_are_kept_and_noted() -> None:
    found, notes = read(token_logprobs=[-1.0, -2.0])
    assert (found.tokens, found.token_logprobs, notes) == (["", ""], [-1.0, -2.0], [])


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("a", b"a"),
        ("\u00e9", b"\xc3\xa9"),
        ("a\ufffd", None),
        (r"bytes:\xe2\x80", b"\xe2\x80"),
        (r"bytes: \xf0\x9f", b" \xf0\x9f"),
        ("bytes:", b"bytes:"),
        ("bytes: x", b"bytes: x"),
        ("token_id:42", None),
        ("token_id:4x", b"token_id:4x"),
        ("", b""),
    ],
)
def test_bytes_of_a_token_that_is_no_text(token: str, expected: bytes | None) -> None:
    found, _ = read(tokens=[token], token_logprobs=[-1.0])
    assert found.token_bytes == [expected]


@given(tokens=_LISTS, token_logprobs=_LISTS, top_logprobs=_LISTS, text_offset=_LISTS)
def test_all_lists_have_one_length_and_types_that_arrow_takes(**fields: Any) -> None:
    found, _ = read(**fields)
    if found is None:
        return
    count = len(found.tokens)
    assert (
        len(found.token_bytes) == len(found.token_logprobs) == len(found.top_tokens) == len(found.top_logprobs) == count
    )
    assert [len(tokens) for tokens in found.top_tokens] == [len(values) for values in found.top_logprobs]
    assert all(isinstance(token, str) for tokens in (found.tokens, *found.top_tokens) for token in tokens)
    values = [value for row in (found.token_logprobs, *found.top_logprobs) for value in row]
    assert all(value is None or isinstance(value, float) for value in values)
