from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jsonschema
import orjson
import pytest

from runner.notify import ConfigResult, Flip, Score, payload, payload_json_schema, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.notify import Message


def test_the_body_is_what_its_schema_says(night: Callable[..., Message]) -> None:
    schema = payload_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    made = payload(night(), delivery_id="d1", sent_at="2026-11-22T03:00:00+00:00")
    jsonschema.validate(made, schema)
    title, body = render(night())
    assert (made["version"], made["id"], made["event"]) == (1, "d1", "regression")
    assert made["text"] == f"{title}\n{body}"
    assert made["configs"][0]["scores"][0]["difference_interval"] == [-0.07, -0.03]
    assert made["configs"][0]["flips"] == [
        {"sample_id": "q-17", "score": "exact_match", "before": 1.0, "after": 0.0, "text": "The answer is 42."}
    ]


def test_a_field_that_is_missing_breaks_the_schema(night: Callable[..., Message]) -> None:
    made = payload(night(), delivery_id="d1", sent_at="2026-11-22T03:00:00+00:00")
    del made["configs"][0]["scores"][0]["mean"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made, payload_json_schema())


def test_what_json_cannot_hold_is_null_and_lists_are_bounded(night: Callable[..., Message]) -> None:
    flips = tuple(Flip("i" * 5000, "em", math.nan, math.inf, "\x1b[2J\ud800" + "t" * 5000) for _ in range(30))
    config = ConfigResult("c", "complete", 4, "worse", scores=(Score("em", math.nan, (math.nan, 1.0)),), flips=flips)
    made = payload(night(configs=(config,) * 500), delivery_id="d", sent_at="2026-11-22T03:00:00+00:00")
    jsonschema.validate(made, payload_json_schema())
    encoded = orjson.dumps(made)
    assert b"\\u001b" not in encoded
    assert (len(made["configs"]), made["configs_in_all"]) == (200, 500)
    first = made["configs"][0]
    assert (len(first["flips"]), first["flips_in_all"]) == (5, 30)
    assert first["scores"][0]["mean"] is None
    assert first["scores"][0]["interval"] == [None, 1.0]
    assert len(first["flips"][0]["sample_id"]) == 1000
