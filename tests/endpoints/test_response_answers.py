from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.endpoints import ENDPOINTS
from runner.endpoints.responses import asks_for_logprobs, find_problem, finish, parse, reserve_tokens
from runner.errors import NoChoicesError, ServerError
from runner.pipeline.sending.attempt import judge
from runner.records import Output, Response

if TYPE_CHECKING:
    from runner.records import Parsed

BODIES = Path(__file__).parent.parent / "bodies"


def golden(name: str) -> Parsed:
    return parse((BODIES / name).read_bytes(), 1, 1)


def read(*items: Any, **more: Any) -> Output:
    ((output,),) = parse(orjson.dumps({"status": "completed", "output": items, **more}), 1, 1).outputs
    return output


def said(*parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(parts)}


def text(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": value, **more}


def test_openais_own_shape_parses_into_the_right_columns() -> None:
    parsed = golden("response_openai.json")
    ((output,),) = parsed.outputs
    assert (output.choice, output.status, output.finish_reason) == (0, "ok", "completed")
    assert (output.text, output.reasoning) == ("Paris.", "Think of France.\n\nIts capital.")
    assert (output.refusal, output.tool_calls, output.error_kind) == (None, None, None)
    assert output.logprobs is not None
    assert (output.logprobs.tokens, output.logprobs.token_logprobs) == (["Paris", "."], [-0.125, -0.5])
    assert output.logprobs.top_tokens == [["Paris", "Lyon"], []]
    assert (parsed.response_id, parsed.created) == ("resp_67ccd2bed1ec8190b14f964abc054267", 1741476542)
    assert (parsed.served_model, parsed.service_tier) == ("gpt-4.1-2025-04-14", "default")
    usage = parsed.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (36, 87, 123)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (4, 64)
    assert parsed.notes == ()


def test_reasoning_that_used_up_all_tokens_is_a_truncated_answer() -> None:
    parsed = golden("response_incomplete.json")
    ((output,),) = parsed.outputs
    assert (output.status, output.finish_reason, output.text) == ("truncated", "max_output_tokens", None)
    assert (parsed.usage.reasoning_tokens, parsed.created) == (16, 1741476542)


def test_llamacpps_empty_list_of_log_probabilities_is_none() -> None:
    parsed = golden("response_llamacpp.json")
    assert parsed.outputs == ((Output(0, "ok", "N<R", finish_reason="completed"),),)
    assert (parsed.usage.prompt_tokens, parsed.usage.completion_tokens) == (21, 3)


def test_a_failed_response_is_an_error_of_its_own_words() -> None:
    data = (BODIES / "error_200_responses_failed.json").read_bytes()
    outcome = judge(ENDPOINTS["responses"], Response(200, {}, data, 0.0, 0.0), answered_before=False)
    assert isinstance(outcome.error, ServerError)
    assert "The model failed to answer." in outcome.error.message


@pytest.mark.parametrize(
    ("fields", "status", "finish_reason"),
    [
        ({}, "ok", "completed"),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "truncated",
            "max_output_tokens",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            "content_filter",
            "content_filter",
        ),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_tokens"}}, "truncated", "max_tokens"),
        ({"status": "incomplete", "incomplete_details": {"reason": "new"}}, "truncated", "new"),
        ({"status": "incomplete", "incomplete_details": None}, "truncated", "incomplete"),
        ({"status": None}, "ok", None),
        ({"status": ["odd"]}, "ok", None),
        ({"incomplete_details": {"reason": 5}}, "ok", "completed"),
    ],
)
def test_status_follows_why_it_is_incomplete(fields: dict[str, Any], status: str, finish_reason: str | None) -> None:
    output = read(said(text("x")), **fields)
    assert (output.status, output.finish_reason, output.text) == (status, finish_reason, "x")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([said(text("a"), text("b"))], "ab"),
        ([said(text("a")), said(text("b"))], "ab"),
        ([said(text(""))], ""),
        ([said()], None),
        ([said(text(None), text("b"), None, 7, "c")], "b"),
        ([{"type": "message", "content": None}], None),
        ([{"type": "message"}], None),
        ([{"content": [{"text": "untyped"}]}], "untyped"),
        ([said({"type": "text", "text": "as in chat"})], "as in chat"),
        ([{"type": "web_search_call", "status": "completed"}, said(text("found"))], "found"),
        ([{"type": ["odd"]}], None),
    ],
)
def test_texts_of_all_messages_are_joined(items: list[Any], expected: str | None) -> None:
    assert read(*items).text == expected


@pytest.mark.parametrize(
    ("refusal", "status", "expected"),
    [("No.", "refused", "No."), ("None", "ok", None), ("", "ok", None), (None, "ok", None), (5, "ok", None)],
)
def test_a_refusal_is_a_part_of_a_message(refusal: Any, status: str, expected: str | None) -> None:
    output = read(said({"type": "refusal", "refusal": refusal}))
    assert (output.status, output.refusal) == (status, expected)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"summary": [{"type": "summary_text", "text": "s"}]}, "s"),
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "all of it"}]}, "all of it"),
        ({"summary": [{"text": "s"}], "content": [{"text": "all of it"}]}, "all of it"),
        ({"summary": None}, None),
        ({"summary": [{"text": 5}, "odd"]}, None),
    ],
)
def test_reasoning_is_shown_or_summed_up(item: dict[str, Any], expected: str | None) -> None:
    assert read({"type": "reasoning", **item}).reasoning == expected


def test_calls_take_the_shape_of_chat() -> None:
    output = read(
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'},
        {"type": "custom_tool_call", "id": "ct_1", "name": "code", "input": "print(1)"},
    )
    assert orjson.loads(output.tool_calls or "") == [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "ct_1", "type": "custom", "custom": {"name": "code", "input": "print(1)"}},
    ]
    assert (output.status, output.text) == ("ok", None)


def test_items_that_are_no_objects_are_noted() -> None:
    parsed = parse(orjson.dumps({"output": [None, said(text("x")), 7]}), 1, 1)
    assert parsed.outputs[0][0].text == "x"
    assert parsed.notes == ("2 output items are not objects",)


def test_a_response_is_one_answer_whatever_was_asked() -> None:
    parsed = parse(orjson.dumps({"output": [said(text("x"))]}), 1, 3)
    assert [output.status for output in parsed.outputs[0]] == ["ok", "failed", "failed"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, NoChoicesError),
        ([], NoChoicesError),
        ({}, NoChoicesError),
        ({"output": None}, NoChoicesError),
        ({"output": [], "status": "completed"}, NoChoicesError),
        ({"output": [], "status": "queued"}, NoChoicesError),
        ({"output": [said(text("half"))], "status": "in_progress"}, NoChoicesError),
        ({"output": [], "status": "failed"}, ServerError),
        ({"output": [], "status": "cancelled"}, ServerError),
        ({"output": [], "status": "incomplete"}, None),
        ({"output": [None]}, None),
    ],
)
def test_what_is_no_answer_is_named(body: Any, error: type[Exception] | None) -> None:
    problem = find_problem(body)
    assert (problem is None) if error is None else isinstance(problem, error)
    if error is not None:
        with pytest.raises(ValueError, match="no output"):
            parse(orjson.dumps(body), 1, 1)


# ---------------------------------------------------------------- requests


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("message", "items"),
    [
        ({"role": "user", "content": "hi"}, [{"role": "user", "content": "hi"}]),
        ({"role": "system", "content": "be brief"}, [{"role": "system", "content": "be brief"}]),
        (
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        ),
        (
            {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
            [{"role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}],
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "low"}}]},
            [{"role": "user", "content": [{"type": "input_image", "image_url": "u", "detail": "low"}]}],
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "u"}]},
            [{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}],
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
            [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}],
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            [{"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}],
        ),
        (
            {"role": "assistant", "content": "wait", "tool_calls": [CALL, "odd"]},
            [
                {"role": "assistant", "content": "wait"},
                {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
                "odd",
            ],
        ),
        (
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
            [{"type": "function_call_output", "call_id": "call_1", "output": "42"}],
        ),
        ({"type": "item_reference", "id": "x"}, [{"type": "item_reference", "id": "x"}]),
        ("odd", ["odd"]),
        (None, [None]),
        ({"role": "user", "content": [{"type": "input_text", "text": "hi"}, 7]}, None),
    ],
)
def test_messages_are_put_into_the_words_of_this_endpoint(message: Any, items: list[Any] | None) -> None:
    before = orjson.dumps(message)
    made = finish({"model": "m", "input": [message], "temperature": 0})
    assert made == {"model": "m", "input": [message] if items is None else items, "temperature": 0}
    assert orjson.dumps(message) == before, "the row's own values were changed"


def test_an_input_that_is_no_list_is_sent_as_it_is() -> None:
    assert finish({"input": "hi"}) == {"input": "hi"}


@pytest.mark.parametrize(
    ("include", "asks"),
    [
        (None, False),
        ([], False),
        (["reasoning.encrypted_content"], False),
        (["message.output_text.logprobs"], True),
        ("{{ include }}", True),
        (5, False),
    ],
)
def test_include_asks_for_log_probabilities(include: Any, asks: bool) -> None:  # noqa: FBT001 - a column of the table
    assert asks_for_logprobs({"include": include, "top_logprobs": 5}) is asks


@pytest.mark.parametrize(
    ("body", "tokens"), [({}, 612), ({"max_output_tokens": 20}, 120), ({"max_output_tokens": "20"}, 612)]
)
def test_the_token_reserve_is_prompt_and_longest_answer(body: dict[str, Any], tokens: int) -> None:
    assert reserve_tokens(body, 400) == tokens
