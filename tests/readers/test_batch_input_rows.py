from __future__ import annotations

from typing import Any

import pytest

from runner.readers import check_batch_row, is_batch_row

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
LINE = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": BODY}


def test_a_batch_line_is_recognised_and_sound() -> None:
    assert is_batch_row(LINE)
    assert check_batch_row(LINE) is None


@pytest.mark.parametrize(
    "change",
    [{"custom_id": 1}, {"custom_id": None}, {"method": None}, {"url": 5}, {"body": "text"}, {"body": None}],
)
def test_other_rows_are_not_recognised(change: dict[str, Any]) -> None:
    assert not is_batch_row(LINE | change)
    (key,) = change
    assert not is_batch_row({name: value for name, value in LINE.items() if name != key})


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/v1/completions", {"model": "m", "prompt": "p"}),
        ("/v1/embeddings", {"model": "m", "input": ["a"], "stream": False}),
        ("/v1/responses", {"model": "m", "input": "a", "stream": None}),
        ("/v1/responses", {"model": "m", "prompt": {"id": "p"}}),
    ],
)
def test_the_other_endpoints_are_known(url: str, body: dict[str, Any]) -> None:
    assert check_batch_row(LINE | {"url": url, "body": body}) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"custom_id": ""}, "custom_id is empty"),
        ({"method": "GET"}, "method is 'GET', not 'POST'"),
        ({"url": "/v1/files"}, "url '/v1/files' is none of /v1/chat/completions, "),
        ({"url": "https://host.example/v1/chat/completions"}, "is none of"),
        ({"body": {**BODY, "stream": True}}, "body.stream is set"),
        ({"body": {**BODY, "stream": "yes"}}, "body.stream is set"),
        ({"body": {"messages": BODY["messages"]}}, "body has no model"),
        ({"body": {**BODY, "model": ""}}, "body has no model"),
        ({"body": {**BODY, "model": 5}}, "body has no model"),
        ({"body": {"model": "m"}}, "body has no messages"),
        ({"url": "/v1/embeddings"}, "body has no input"),
        ({"url": "/v1/completions"}, "body has no prompt"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], reason: str) -> None:
    line = LINE | change
    assert is_batch_row(line)
    assert reason in (check_batch_row(line) or "")
