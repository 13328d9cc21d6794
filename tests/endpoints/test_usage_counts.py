from __future__ import annotations

from typing import Any

import orjson
import pytest

from runner.endpoints import read_usage
from runner.records import Usage


def read(usage: Any) -> tuple[Usage, list[str]]:
    notes: list[str] = []
    return read_usage({"usage": usage}, notes), notes


@pytest.mark.parametrize("body", [None, [], "x", {}, {"usage": None}])
def test_no_usage_is_all_null_without_a_note(body: Any) -> None:
    notes: list[str] = []
    assert read_usage(body, notes) == Usage()
    assert notes == []


@pytest.mark.parametrize("usage", ["x", 3, [], True])
def test_a_usage_that_is_no_object_is_noted(usage: Any) -> None:
    assert read(usage) == (Usage(), ["usage is not an object"])


@pytest.mark.parametrize(
    ("value", "count", "noted"),
    [
        (9, 9, False),
        (0, 0, False),
        (9.0, 9, False),
        (None, None, False),
        (-1, None, True),
        (9.5, None, True),
        ("9", None, True),
        (True, None, True),
        (2**63 - 1, 2**63 - 1, False),
        (2**63, None, True),
        (1e30, None, True),
        ({}, None, True),
    ],
)
def test_a_count_is_a_whole_number_within_int64(value: Any, count: int | None, noted: bool) -> None:  # noqa: FBT001 - a column of the table
    usage, notes = read({"prompt_tokens": value})
    assert usage.prompt_tokens == count
    assert bool(notes) is noted


def test_the_total_is_summed_only_where_the_server_gives_none() -> None:
    assert read({"prompt_tokens": 2, "completion_tokens": 3})[0].total_tokens == 5
    assert read({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 9})[0].total_tokens == 9
    assert read({"prompt_tokens": 2})[0].total_tokens is None
    assert read({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": "many"})[0].total_tokens is None


def test_details_are_read_and_may_be_odd() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 5}}
    usage, _ = read({"prompt_tokens": 9, **details})
    assert (usage.cached_tokens, usage.reasoning_tokens) == (4, 5)
    usage, _ = read({"prompt_tokens_details": None, "completion_tokens_details": [1]})
    assert (usage.cached_tokens, usage.reasoning_tokens) == (None, None)


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": 9, "cost": 0.25, "details": {"a": [None, True]}}, {"prompt_tokens": 9, "big": 10**30}]
)
def test_the_whole_object_is_kept_as_json(usage: dict[str, Any]) -> None:
    kept = orjson.loads(read(usage)[0].raw or "")
    assert kept["prompt_tokens"] == 9
    assert {name: value for name, value in kept.items() if name != "big"} == {
        name: value for name, value in usage.items() if name != "big"
    }
