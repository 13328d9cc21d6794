from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints.logprobs import read_chat_logprobs

TEXTS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "token": VALUES,
        "logprob": VALUES,
        "bytes": VALUES | st.lists(st.integers(-1, 256)),
        "top_logprobs": st.lists(st.fixed_dictionaries({}, optional={"token": VALUES, "logprob": VALUES}) | VALUES),
    },
)


def entry(token: Any = "a", logprob: Any = -1.0, **more: Any) -> dict[str, Any]:  # noqa: S107 - a token of text
    return {"token": token, "logprob": logprob, **more}


@pytest.mark.parametrize("nothing", [None, [], "x", 3, {}, {"content": None}, {"content": "x"}, {"content": {}}])
def test_no_log_probabilities_are_null(nothing: Any) -> None:
    notes: list[str] = []
    assert read_chat_logprobs(nothing, notes) is None
    assert notes == []


def test_an_empty_list_is_empty_lists() -> None:
    found = read_chat_logprobs({"content": []}, [])
    assert found is not None
    assert (found.tokens, found.top_tokens) == ([], [])


def test_the_tokens_of_a_refusal_stand_under_its_name() -> None:
    found = read_chat_logprobs({"content": None, "refusal": [entry("no")]}, [])
    assert found is not None
    assert found.tokens == ["no"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-1.5, -1.5),
        (-2, -2.0),
        (0, 0.0),
        (None, None),
        ("-1", None),
        (True, None),
        (float("nan"), None),
        (float("-inf"), float("-inf")),
        (-9999.0, -9999.0),
        (3.4028234663852886e38, 3.4028234663852886e38),
        (-3.5e38, None),
        (10**400, None),
        ([], None),
    ],
)
def test_a_log_probability_is_a_float32_or_null(value: Any, expected: float | None) -> None:
    found = read_chat_logprobs({"content": [entry(logprob=value, top_logprobs=[entry(logprob=value)])]}, [])
    assert found is not None
    assert found.token_logprobs == [expected]
    assert found.top_logprobs == [[expected]]


@pytest.mark.parametrize(
    ("given_bytes", "token", "expected"),
    [
        ([50], "2", b"2"),
        ([226, 130], "\ufffd", b"\xe2\x82"),
        (None, "\u00e9", b"\xc3\xa9"),
        (None, "a\ufffd", None),
        ([256], "x", None),
        ([-1], "x", None),
        (["50"], "x", None),
        ([], "", b""),
        ("50", "x", b"x"),
    ],
)
def test_token_bytes_are_the_servers_or_the_tokens_own(given_bytes: Any, token: str, expected: bytes | None) -> None:
    found = read_chat_logprobs({"content": [entry(token, bytes=given_bytes)]}, [])
    assert found is not None
    assert found.token_bytes == [expected]


def test_entries_that_are_no_objects_are_left_out_with_a_note() -> None:
    notes: list[str] = []
    found = read_chat_logprobs({"content": [entry("a"), None, "x", entry("b", top_logprobs=[None, entry("c")])]}, notes)
    assert found is not None
    assert (found.tokens, found.top_tokens) == (["a", "b"], [[], ["c"]])
    assert notes == ["2 log probability entries are not objects"]


@given(st.lists(ENTRIES | VALUES))
def test_all_lists_have_one_length_and_types_that_arrow_takes(entries: list[Any]) -> None:
    found = read_chat_logprobs({"content": entries}, [])
    assert found is not None
    count = len(found.tokens)
    assert {len(found.token_bytes), len(found.token_logprobs), len(found.top_tokens), len(found.top_logprobs)} == {
        count
    }
    assert [len(tokens) for tokens in found.top_tokens] == [len(values) for values in found.top_logprobs]
    assert all(isinstance(token, str) for tokens in (found.tokens, *found.top_tokens) for token in tokens)
    assert all(value is None or isinstance(value, bytes) for value in found.token_bytes)
    numbers = [value for values in (found.token_logprobs, *found.top_logprobs) for value in values if value is not None]
    assert all(np.isinf(value) or np.isfinite(np.float32(value)) for value in numbers)
