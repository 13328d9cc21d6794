from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.endpoints import ENDPOINTS, find_omission
from runner.errors import Action, kind_of
from runner.records import Case, Request

if TYPE_CHECKING:
    from runner.errors import UnsupportedError

CHAT = {"logprobs": True, "top_logprobs": 5, "messages": [{"role": "user", "content": "hi"}]}
COMPLETION = {"logprobs": 5, "prompt": "hi"}
RESPONSE = {"include": ["message.output_text.logprobs"], "input": "hi"}
ENTRY = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}


def find(endpoint: str, asked: Any, answer: Any, choices: int = 1) -> UnsupportedError | None:
    case = Case(bytes(16), "s", 0, bytes(16), 0, None, b"{}")
    request = Request(bytes(16), "/path", orjson.dumps(asked), (case,), choices, 0)
    return find_omission(ENDPOINTS[endpoint], request, answer if isinstance(answer, bytes) else orjson.dumps(answer))


def chat(content: Any = "hello", logprobs: Any = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content, **more}, "logprobs": logprobs, "finish_reason": "stop"}]}


def completion(text: Any = "hello", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": "length", **more}]}


def response(**part: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": "hello", **part}]
    return {"status": "completed", "output": [{"type": "message", "content": content}]}


@pytest.mark.parametrize(
    ("endpoint", "asked", "answer"),
    [
        ("chat", CHAT, chat()),
        ("chat", CHAT, chat(logprobs={"content": None})),
        ("chat", CHAT, chat(logprobs={"content": []})),
        ("chat", CHAT, chat('a text with "logprob": -1 and "token_logprobs": [] in it')),
        ("chat", CHAT, chat(logprobs={"top_logprobs": 5})),
        ("logprobs", CHAT, chat()),
        ("completions", COMPLETION, completion()),
        ("completions", {**COMPLETION, "logprobs": 0}, completion(logprobs=None)),
        ("completions", {**COMPLETION, "logprobs": True}, completion()),
        ("completions", COMPLETION, completion(logprobs={"tokens": ["a"], "token_logprobs": None})),
        ("completions", COMPLETION, chat()),
        ("responses", RESPONSE, response()),
        ("responses", RESPONSE, response(logprobs=[])),
    ],
)
def test_a_text_without_what_was_asked_for_is_an_omission(endpoint: str, asked: Any, answer: Any) -> None:
    found = find(endpoint, asked, answer)
    assert found is not None
    assert "left out the log probabilities" in found.message
    assert "/path" in found.message
    assert "on_unsupported" in found.hint
    assert (found.action, kind_of(type(found))) == (Action.STOP_RUN, "unsupported")


@pytest.mark.parametrize(
    ("endpoint", "asked", "answer"),
    [
        # delivered
        ("chat", CHAT, chat(logprobs={"content": [ENTRY]})),
        (
            "chat",
            CHAT,
            b'{"choices":[{"message":{"content":"x"},"logprobs":{"content":[{"token":"x","logprob" : NaN}]}}]}',
        ),
        ("chat", CHAT, chat(logprobs={"tokens": ["a"], "token_logprobs": [-1.0]})),
        ("completions", COMPLETION, completion(logprobs={"tokens": ["a"], "token_logprobs": [-1.0]})),
        ("completions", COMPLETION, completion(logprobs={"content": [ENTRY]})),
        ("responses", RESPONSE, response(logprobs=[ENTRY])),
        # not asked for
        ("chat", {**CHAT, "logprobs": False}, chat()),
        ("chat", {**CHAT, "logprobs": None}, chat()),
        ("chat", {"messages": [{"role": "user", "content": 'say "logprobs"'}]}, chat()),
        ("completions", {"prompt": "x", "logprobs": False}, completion()),
        ("responses", {"input": "x", "top_logprobs": 5}, response()),
        # no text whose tokens could have any
        ("chat", CHAT, chat(content=None)),
        ("chat", CHAT, chat(content="")),
        ("chat", CHAT, chat(content=None, refusal="No.")),
        ("chat", CHAT, chat(content="calling", tool_calls=[{"id": "c"}])),
        ("completions", COMPLETION, completion("")),
        ("completions", COMPLETION, completion("\ufffd\ufffd")),
        ("completions", COMPLETION, completion("x", finish_reason="content_filter")),
        ("completions", COMPLETION, completion("x", error={"message": "upstream died"})),
        # what is no answer at all is not judged here
        ("chat", CHAT, b"<html>"),
        ("chat", CHAT, {"choices": []}),
        ("chat", CHAT, b'{"a":' + b"[" * 100_000),
    ],
)
def test_all_else_is_none(endpoint: str, asked: Any, answer: Any) -> None:
    assert find(endpoint, asked, answer) is None


def test_one_choice_with_log_probabilities_shows_that_the_server_can() -> None:
    choices = [chat()["choices"][0], chat(logprobs={"content": [ENTRY]})["choices"][0]]
    assert find("chat", {**CHAT, "n": 2}, {"choices": choices}, choices=2) is None


def test_a_text_among_empty_ones_shows_that_it_cannot() -> None:
    choices = [chat(content="")["choices"][0], chat()["choices"][0]]
    assert find("chat", {**CHAT, "n": 2}, {"choices": choices}, choices=2) is not None
