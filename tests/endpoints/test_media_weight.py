"""What base64 in a body counts for, and how a body is shown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS, prompt_bytes, shortened

MILLION = "A" * 1_000_000
COUNTED = 4000


def body_of(*parts: dict[str, Any]) -> bytes:
    return orjson.dumps({"messages": [{"role": "user", "content": list(parts)}]}, option=orjson.OPT_SORT_KEYS)


def image(data: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def sound(data: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


@pytest.mark.parametrize("make", [image, sound])
@pytest.mark.parametrize("count", [1, 3])
def test_base64_counts_for_four_thousand_bytes_and_the_rest_for_itself(make: Any, count: int) -> None:
    body = body_of({"type": "text", "text": "x" * 9000}, *[make(MILLION)] * count)
    without = len(body_of({"type": "text", "text": "x" * 9000}, *[make("")] * count))
    assert prompt_bytes(body) == without + count * COUNTED


def test_pictures_and_sound_together_count_one_by_one() -> None:
    body = body_of(image(MILLION), sound(MILLION), image(MILLION))
    assert prompt_bytes(body) == len(body_of(image(""), sound(""), image(""))) + 3 * COUNTED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        body_of({"type": "text", "text": "short"}),
        body_of({"type": "text", "text": "long " * 100_000}),
        body_of(image("A" * 100)),
        body_of(image("A" * 100), {"type": "text", "text": "long " * 100_000}),
        b'{"open": ";base64,' + b"A" * 100_000,
    ],
)
def test_everything_else_counts_for_its_length(body: bytes) -> None:
    assert prompt_bytes(body) == len(body)


@given(st.lists(st.sampled_from([b";base64,", b'"', b'"input_audio":{"data":"', b"A" * 5000, b"x"]), max_size=12))
def test_no_bytes_weigh_less_than_nothing_or_more_than_they_are(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    assert min(len(body), 1) <= prompt_bytes(body) <= len(body)


def test_a_picture_does_not_use_up_a_minutes_tokens() -> None:
    body = body_of(image(MILLION))
    assert ENDPOINTS["chat"].reserve_tokens({"max_tokens": 100}, prompt_bytes(body)) < 1200


def test_what_is_shown_has_long_base64_cut_and_all_else_as_it_is() -> None:
    shown = shortened({"a": [image(MILLION), {"text": "word " * 1000, "n": [1, None, True, 0.5]}]})
    assert shown["a"][0]["image_url"]["url"] == f"data:image/png;base64,{'A' * 40}… (1,000,000 characters)"
    assert shown["a"][1] == {"text": "word " * 1000, "n": [1, None, True, 0.5]}
