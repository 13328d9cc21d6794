from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict, warnings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MESSAGES = [{"role": "user", "content": "{{ question }}"}]


def request(endpoint: str = "chat", **changes: Any) -> dict[str, Any]:
    content = {"prompt": "{{ question }}"} if endpoint == "completions" else {"messages": MESSAGES}
    asked = {"endpoint": endpoint, **content, "on_truncated": "retry", "max_tokens_cap": 100}
    return {"request": {name: value for name, value in {**asked, **changes}.items() if value is not None}}


@pytest.mark.parametrize(
    "changes",
    [
        request(params={"max_tokens": 10}),
        request(params={"max_completion_tokens": "{{ budget }}"}),
        request(extra_body={"max_tokens": 10}),
        request("logprobs", params={"max_completion_tokens": 99}),
        request("completions", params={"max_tokens": 10}),
        request("responses", params={"max_output_tokens": 10}),
        request(messages=None),
    ],
)
def test_what_can_be_enlarged_is_fine(changes: dict[str, Any], complaints: Callable[..., list[str]]) -> None:
    assert complaints(changes) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (request(params={}), "request.on_truncated: the request has no max_completion_tokens that could be enlarged"),
        (
            request("responses", params={"max_tokens": 10}),
            "the request has no max_output_tokens that could be enlarged",
        ),
        (request("completions", params={}), "the request has no max_tokens that could be enlarged"),
        (
            request(params={"max_tokens": 10}, max_tokens_cap=None),
            "request.on_truncated: needs request.max_tokens_cap beside it",
        ),
        (
            request(params={"max_tokens": 100}),
            "request.max_tokens_cap: 100 is not more than max_tokens, 100",
        ),
        (
            {"request": {"endpoint": "embeddings", "input": "{{ text }}", "on_truncated": "retry"}},
            "request.on_truncated: is not used by the endpoint embeddings",
        ),
    ],
)
def test_where_nothing_can_be_enlarged_it_is_said(
    changes: dict[str, Any], expected: str, complaints: Callable[..., list[str]]
) -> None:
    (complaint,) = complaints(changes)
    assert expected in complaint


def test_a_cap_without_a_retry_is_doubted(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    doubt = "request.max_tokens_cap: has no effect without on_truncated: retry"
    for changes in ({"request.max_tokens_cap": 8}, {"request.max_tokens_cap": 8, "request.endpoint": "embeddings"}):
        assert doubt in warnings(config_from_dict(values(changes), tmp_path))
    assert warnings(config_from_dict(values(request(params={"max_tokens": 10})), tmp_path)) == []
