"""Answers of reasoning models that hold reasoning and no text, in the shapes that servers send."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.endpoints import ENDPOINTS
from runner.endpoints.reasoning import CUT, NO_TEXT

if TYPE_CHECKING:
    from runner.records import Output

BODIES = Path(__file__).parent.parent / "bodies"


def usage(completion: int, reasoning: int | None) -> dict[str, Any]:
    details = {} if reasoning is None else {"completion_tokens_details": {"reasoning_tokens": reasoning}}
    return {"prompt_tokens": 5, "completion_tokens": completion, "total_tokens": 5 + completion, **details}


def chat(message: dict[str, Any], finish: str, used: dict[str, Any], choices: int = 1) -> tuple[Output, ...]:
    one = {"message": {"role": "assistant", **message}, "finish_reason": finish}
    body = {"choices": [{"index": index, **one} for index in range(choices)], "usage": used}
    return ENDPOINTS["chat"].parse(orjson.dumps(body), 1, choices).outputs[0]


@pytest.mark.parametrize(
    ("message", "used"),
    [
        pytest.param({"content": "", "reasoning_content": "Let me see"}, usage(16, 16), id="deepseek"),
        pytest.param({"content": None, "reasoning": "Let me see"}, usage(16, None), id="vllm"),
        pytest.param({"content": "", "refusal": None, "annotations": []}, usage(16, 16), id="openai"),
        pytest.param({"content": ""}, usage(200, 199), id="moonshot"),
        pytest.param({"content": "\n\n", "reasoning_content": "Let me see"}, usage(16, None), id="blank"),
    ],
)
@pytest.mark.parametrize(("finish", "status", "note"), [("length", "truncated", CUT), ("stop", "ok", NO_TEXT)])
def test_reasoning_alone_is_noted_and_cut_off_where_the_tokens_ran_out(
    message: dict[str, Any], used: dict[str, Any], finish: str, status: str, note: str
) -> None:
    (output,) = chat(message, finish, used)
    assert (output.status, output.note, output.text) == (status, note, message["content"])


@pytest.mark.parametrize(
    ("message", "used"),
    [
        pytest.param({"content": "4", "reasoning_content": "2 + 2"}, usage(9, 8), id="text"),
        pytest.param({"content": ""}, usage(1, 0), id="no reasoning"),
        pytest.param({"content": ""}, usage(1, None), id="no details"),
        pytest.param({"content": None, "reasoning": "r", "tool_calls": [{"id": "c"}]}, usage(9, 8), id="call"),
        pytest.param({"content": None, "reasoning": "r", "refusal": "No."}, usage(9, 8), id="refusal"),
        pytest.param({"content": None, "reasoning": "r", "audio": {"transcript": "4"}}, usage(9, 8), id="audio"),
    ],
)
def test_an_answer_that_holds_something_else_is_not_noted(message: dict[str, Any], used: dict[str, Any]) -> None:
    assert chat(message, "stop", used)[0].note is None


def test_hidden_reasoning_of_several_choices_is_nobodys() -> None:
    assert [output.note for output in chat({"content": ""}, "length", usage(32, 32), choices=2)] == [None, None]
    shown = chat({"content": "", "reasoning": "r"}, "length", usage(32, 32), choices=2)
    assert [output.note for output in shown] == [CUT, CUT]


def test_an_incomplete_response_of_hidden_reasoning_is_noted() -> None:
    body = (BODIES / "response_incomplete.json").read_bytes()
    (output,) = ENDPOINTS["responses"].parse(body, 1, 1).outputs[0]
    assert (output.status, output.finish_reason, output.note) == ("truncated", "max_output_tokens", CUT)


def test_a_text_completion_of_reasoning_alone_is_noted() -> None:
    choice = {"index": 0, "text": "", "reasoning": "r", "finish_reason": "length"}
    (output,) = ENDPOINTS["completions"].parse(orjson.dumps({"choices": [choice]}), 1, 1).outputs[0]
    assert (output.status, output.note) == ("truncated", CUT)


def test_a_streamed_answer_of_reasoning_alone_is_noted() -> None:
    deltas = [{"role": "assistant", "content": ""}, {"reasoning_content": "Let"}, {"reasoning_content": " me"}]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    body = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    (output,) = ENDPOINTS["chat"].parse(body, 1, 1).outputs[0]
    assert (output.status, output.reasoning, output.note) == ("truncated", "Let me", CUT)
