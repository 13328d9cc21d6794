"""Answers read as a table of bytes: the same as read entry by entry, and no other answer is taken for one."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.endpoints.vectortable import read_table

ORDERS = [
    ("object", "index", "embedding"),
    ("embedding", "index", "object"),
    ("index", "embedding"),
    ("embedding", "object", "index"),
]


def vectors(count: int, size: int = 3) -> Any:
    return np.random.default_rng(count).standard_normal((count, size)).astype("<f4")


def entries(matrix: Any, order: tuple[str, ...] = ORDERS[0]) -> list[dict[str, Any]]:
    made = []
    for index, vector in enumerate(matrix):
        fields = {"object": "embedding", "index": index, "embedding": base64.b64encode(vector.tobytes()).decode()}
        made.append({name: fields[name] for name in order})
    return made


def body_of(data: Any, indent: int | None = None, *, first: bool = False) -> bytes:
    rest = {"model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    value = {"data": data, **rest} if first else {**rest, "data": data}
    return json.dumps(value, indent=indent).encode()


@given(
    st.sampled_from([2, 3, 9, 10, 11, 99, 100, 101, 1001]),
    st.integers(1, 4),
    st.sampled_from(ORDERS),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_all_vectors_are_taken(count: int, size: int, order: tuple[str, ...], indent: int | None, first: bool) -> None:  # noqa: FBT001 - drawn
    matrix = vectors(count, size)
    table = read_table(body_of(entries(matrix, order), indent, first=first), count)
    assert table is not None
    np.testing.assert_array_equal(table.vectors, matrix)
    assert table.value["model"] == "m"
    assert len(table.value["data"]) == 1
    for other in (count - 1, count + 1):
        assert read_table(body_of(entries(matrix, order), indent, first=first), other) is None


def swapped(data: list[dict[str, Any]]) -> None:
    data[3]["index"], data[4]["index"] = 4, 3


def renumbered(data: list[dict[str, Any]]) -> None:
    for entry in data:
        entry["index"] += 1


def marked(data: list[dict[str, Any]]) -> None:
    data[5]["object"] = "embeddinG"


def spoilt(data: list[dict[str, Any]]) -> None:
    data[5]["embedding"] = "*" + data[5]["embedding"][1:]


def shortened(data: list[dict[str, Any]]) -> None:
    data[5]["embedding"] = data[5]["embedding"][:-4]


def nested(data: list[dict[str, Any]]) -> None:
    for number, entry in enumerate(data):
        entry["object"] = {"index": number}
        del entry["index"]


def twice(data: list[dict[str, Any]]) -> None:
    for number, entry in enumerate(data):
        entry["object"] = {"index": number}


def last_is_other(data: list[dict[str, Any]]) -> None:
    data[-1]["index"] = 3


def last_has_two(data: list[dict[str, Any]]) -> None:
    data[-1]["more"] = {"embedding": "AAAA"}
    data.append({})


def quoted(data: list[dict[str, Any]]) -> None:
    for number, entry in enumerate(data):
        entry["object"] = f'"index": {number}, "embedding": "'
        del entry["index"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "change", [swapped, renumbered, marked, spoilt, shortened, nested, twice, last_is_other, last_has_two, quoted]
)
def test_any_other_answer_is_left_alone(change: Any, order: tuple[str, ...]) -> None:
    data = entries(vectors(12), order)
    if change is marked and "object" not in order:
        return
    change(data)
    assert read_table(body_of(data), 12) is None


@given(st.integers(0, 2000), st.binary(min_size=0, max_size=3), st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_changes_a_vector_or_is_noticed(place: int, fresh: bytes, gone: int) -> None:
    matrix = vectors(12)
    body = body_of(entries(matrix))
    place %= len(body)
    changed = body[:place] + fresh + body[place + gone :]
    table = read_table(changed, 12)
    if table is None:
        return
    plain = [
        np.frombuffer(base64.b64decode(entry["embedding"], validate=True), "<f4")
        for entry in sorted(json.loads(changed)["data"], key=lambda entry: int(entry["index"]))
    ]
    np.testing.assert_array_equal(table.vectors, np.stack(plain))
