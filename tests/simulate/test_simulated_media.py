"""What the simulator shows of the parts that it received."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
import pytest

from runner.simulate.media import part_text
from runner.simulate.prompts import read_chat, request_digest

EIGHT = sha256(b"picture!").hexdigest()[:12]
DATA = "cGljdHVyZSE="


def digest_of(part: Any) -> str:
    content = orjson.dumps(part, option=orjson.OPT_SORT_KEYS)
    return f"{len(content)} bytes {sha256(content).hexdigest()[:12]}"


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"type": "text", "text": "Hi"}, "Hi"),
        ({"type": "input_text", "text": "Hi"}, "Hi"),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
            f"[image_url image/png 8 bytes {EIGHT}]",
        ),
        ({"type": "image_url", "image_url": f"data:;base64,{DATA}"}, f"[image_url  8 bytes {EIGHT}]"),
        ({"type": "image_url", "image_url": {"url": "https://e.org/a,b.png"}}, "[image_url https://e.org/a,b.png]"),
        (
            {"type": "input_image", "image_url": f"data:image/webp;base64,{DATA}"},
            f"[input_image image/webp 8 bytes {EIGHT}]",
        ),
        ({"type": "input_image", "file_id": "file-1"}, "[input_image file-1]"),
        (
            {"type": "input_audio", "input_audio": {"data": DATA, "format": "mp3"}},
            f"[input_audio mp3 8 bytes {EIGHT}]",
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{DATA}", "filename": "a"}},
            f"[file application/pdf 8 bytes {EIGHT}]",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}},
            "[image_url image/png broken base64]",
        ),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,ü"}}, "[image_url image/png broken base64]"),
        ({"type": "image_url", "image_url": {"url": "data:,"}}, "[image_url data:,]"),
        ({"type": "new", "x": [1, None]}, f"[new {digest_of({'type': 'new', 'x': [1, None]})}]"),
        ({"type": ["list"]}, f"[['list'] {digest_of({'type': ['list']})}]"),
        ({}, f"[None {digest_of({})}]"),
        (7, ""),
        (None, ""),
    ],
)
def test_a_part_is_shown_by_kind_size_and_digest(part: Any, text: str) -> None:
    assert part_text(part) == text


def test_a_request_is_read_with_all_its_parts_and_each_costs_tokens() -> None:
    parts = [
        {"type": "text", "text": "abcd"},
        {"type": "of.tomorrow"},
        {"type": "image_url", "image_url": {"url": "u"}},
    ]
    body = {"messages": [{"role": "user", "content": parts}]}
    request = read_chat(body, request_digest(body))
    assert request.prompt_tokens == 4 + 1 + 85 + 85
    assert request.last_user_text == f"abcd[of.tomorrow {digest_of({'type': 'of.tomorrow'})}][image_url u]"
