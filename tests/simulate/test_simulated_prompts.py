from __future__ import annotations

from typing import Any

import pytest

from runner.simulate.prompts import InvalidRequestError, count_tokens, read_chat, request_digest

HELLO = [{"role": "user", "content": "Hello there"}]


def read(**body: Any) -> Any:
    return read_chat(body, request_digest(body))


def refusal(**body: Any) -> tuple[str | None, str | None]:
    with pytest.raises(InvalidRequestError) as caught:
        read(**body)
    return caught.value.body.param, caught.value.body.code


def test_the_digest_covers_messages_and_seed_only() -> None:
    digest = request_digest({"messages": HELLO, "seed": 7})
    assert digest == request_digest({"seed": 7, "messages": [{"content": "Hello there", "role": "user"}], "model": "m"})
    assert digest != request_digest({"messages": HELLO, "seed": 8})
    assert digest != request_digest({"messages": [*HELLO, *HELLO], "seed": 7})
    assert len(bytes.fromhex(digest)) == 32


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("abcd", 1), ("abcde", 2), ("東京都", 1), ("a" * 400, 100)])
def test_four_characters_are_a_token(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_prompt_tokens_count_messages_parts_and_media() -> None:
    assert read(messages=HELLO).prompt_tokens == 4 + 3
    parts = [{"type": "text", "text": "abcdefgh"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert read(messages=[{"role": "user", "content": parts}]).prompt_tokens == 4 + 2 + 85


def test_what_a_request_says_is_read() -> None:
    request = read(
        model="m",
        messages=[*HELLO, {"role": "assistant", "content": None}, {"role": "tool", "content": "x"}],
        max_completion_tokens=9,
        n=3,
        stop=["a", ""],
        logprobs=True,
        top_logprobs=5,
        temperature=0,
    )
    assert (request.model, request.last_user_text, request.max_tokens, request.n) == ("m", "Hello there", 9, 3)
    assert (request.stop, request.top_logprobs, request.greedy) == (("a",), 5, True)
    bare = read(messages=[{"role": "system", "content": "s"}])
    assert (bare.last_user_text, bare.max_tokens, bare.n, bare.stop) == ("", None, 1, ())
    assert (bare.top_logprobs, bare.greedy, bare.model) == (None, False, "simulated")
    assert read(messages=HELLO, logprobs=True).top_logprobs == 0


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "messages", "missing_required_parameter"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
        ({"messages": HELLO, "model": 4}, "model", "invalid_type"),
        ({"messages": HELLO, "max_tokens": "many"}, "max_tokens", "invalid_type"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        (
            {"messages": HELLO, "max_tokens": 1, "max_completion_tokens": 1},
            "max_tokens",
            "invalid_parameter_combination",
        ),
        ({"messages": HELLO, "n": True}, "n", "invalid_type"),
        ({"messages": HELLO, "n": 129}, "n", "integer_above_max_value"),
        ({"messages": HELLO, "logprobs": 5}, "logprobs", "invalid_type"),
        ({"messages": HELLO, "top_logprobs": 5}, "top_logprobs", None),
        ({"messages": HELLO, "logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"messages": HELLO, "temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"messages": HELLO, "temperature": -1}, "temperature", "decimal_below_min_value"),
        ({"messages": HELLO, "temperature": "hot"}, "temperature", "invalid_type"),
        ({"messages": HELLO, "stop": 5}, "stop", "invalid_type"),
        ({"messages": HELLO, "stop": [1]}, "stop", "invalid_type"),
        ({"messages": HELLO, "stop": list("abcde")}, "stop", "array_above_max_length"),
        ({"messages": HELLO, "stream": "yes"}, "stream", "invalid_type"),
        ({"messages": HELLO, "stream": True, "stream_options": 1}, "stream_options", "invalid_type"),
        ({"messages": HELLO, "stream_options": {"include_usage": True}}, "stream_options", None),
    ],
)
def test_what_is_wrong_is_refused_by_name(body: dict[str, Any], param: str, code: str | None) -> None:
    assert refusal(**body) == (param, code)
