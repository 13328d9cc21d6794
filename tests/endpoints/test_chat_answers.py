from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.endpoints import ENDPOINTS
from runner.endpoints.chat import choices_wanted, find_problem, parse, reserve_tokens
from runner.pipeline.sending.attempt import judge
from runner.records import Output, Response

BODIES = Path(__file__).parent.parent / "bodies"


def body(*choices: Any, **more: Any) -> bytes:
    return orjson.dumps({"choices": choices, **more})


def choice(message: Any, **more: Any) -> dict[str, Any]:
    return {"index": 0, "message": message, "finish_reason": "stop", **more}


def only(data: bytes) -> Output:
    ((output,),) = parse(data, 1, 1).outputs
    return output


# ---------------------------------------------------------------- the API's own examples


def test_the_chat_example_parses_into_the_right_columns() -> None:
    parsed = parse((BODIES / "seed_chat.json").read_bytes(), 1, 1)
    ((output,),) = parsed.outputs
    assert output == Output(
        choice=0, status="ok", text="\n\nHello there, how may I assist you today?", finish_reason="stop"
    )
    assert (parsed.response_id, parsed.created, parsed.served_model) == ("chatcmpl-123", 1677652288, "gpt-4o-mini")
    assert (parsed.system_fingerprint, parsed.service_tier, parsed.notes) == ("fp_44709d6fcb", None, ())
    usage = parsed.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (9, 12, 21)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (None, 0)
    assert orjson.loads(usage.raw or "") == orjson.loads((BODIES / "seed_chat.json").read_bytes())["usage"]


def test_the_log_probability_example_parses_into_the_right_columns() -> None:
    parsed = parse((BODIES / "seed_logits.json").read_bytes(), 1, 1)
    ((output,),) = parsed.outputs
    assert (output.status, output.text, output.finish_reason, output.refusal) == ("ok", "2", "sto", None)
    logprobs = output.logprobs
    assert logprobs is not None
    assert (logprobs.tokens, logprobs.token_bytes) == (["2"], [b"2"])
    assert logprobs.token_logprobs == [-1.9361264946837764e-07]
    assert logprobs.top_tokens == [["2", "Two", "\u2082", "2", "1"]]
    assert logprobs.top_logprobs == [[-1.9361264946837764e-07, -16.375, -21.125, -21.875, -22.375]]
    assert (parsed.service_tier, parsed.system_fingerprint, parsed.created) == ("default", "fp_06737a9306", 1740566247)
    assert (parsed.usage.cached_tokens, parsed.usage.reasoning_tokens, parsed.usage.total_tokens) == (0, 0, 36)
    assert parsed.notes == ()


def test_the_example_as_printed_with_its_trailing_comma_is_the_same_answer() -> None:
    printed = (BODIES / "seed_chat_printed.txt").read_bytes()
    parsed = parse(printed, 1, 1)
    assert replace(parsed, notes=()) == parse((BODIES / "seed_chat.json").read_bytes(), 1, 1)
    assert parsed.notes == ("trailing comma",)
    outcome = judge(ENDPOINTS["chat"], Response(200, {}, printed, 0.0, 0.0), answered_before=False)
    assert (outcome.error, outcome.usage.total_tokens) == (None, 21)


# ---------------------------------------------------------------- tables of bodies


@pytest.mark.parametrize(
    ("finish", "refusal", "status"),
    [
        ("stop", None, "ok"),
        ("length", None, "truncated"),
        ("max_tokens", None, "truncated"),
        ("content_filter", None, "content_filter"),
        ("sto", None, "ok"),
        ("tool_calls", None, "ok"),
        (None, None, "ok"),
        (7, None, "ok"),
        ("stop", "None", "ok"),
        ("stop", "", "ok"),
        ("stop", "I cannot.", "refused"),
        ("length", "I cannot.", "truncated"),
        ("content_filter", "I cannot.", "content_filter"),
    ],
)
def test_status_follows_finish_reason_and_refusal(finish: Any, refusal: Any, status: str) -> None:
    output = only(body(choice({"content": "x", "refusal": refusal}, finish_reason=finish)))
    assert output.status == status
    assert output.finish_reason == (finish if isinstance(finish, str) else None)
    assert output.refusal == ("I cannot." if refusal == "I cannot." else None)
    assert output.text == "x"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "plain"}, "plain"),
        ({"content": ""}, ""),
        ({"content": None}, None),
        ({}, None),
        ({"content": 7}, None),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}, "c", None, {"text": 3}]}, "a"),
        ({"content": []}, ""),
        ({"content": {"text": "a"}}, None),
    ],
)
def test_content_is_text_in_any_shape_that_servers_send(message: dict[str, Any], text: str | None) -> None:
    assert only(body(choice(message))).text == text


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        ({"reasoning_content": "thought"}, "thought"),
        ({"reasoning": "thought"}, "thought"),
        ({"reasoning_content": "first", "reasoning": "second"}, "first"),
        ({"reasoning_content": None, "reasoning": "second"}, "second"),
        ({"reasoning": {"effort": "low"}}, None),
        ({}, None),
    ],
)
def test_reasoning_is_read_under_both_its_names(message: dict[str, Any], reasoning: str | None) -> None:
    assert only(body(choice(message))).reasoning == reasoning


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        ({"tool_calls": [CALL]}, [CALL]),
        ({"tool_calls": []}, None),
        ({"tool_calls": None}, None),
        ({"function_call": CALL["function"]}, [{"type": "function", "function": CALL["function"]}]),
        ({"tool_calls": [CALL], "function_call": {"name": "g"}}, [CALL]),
        ({"tool_calls": "odd"}, "odd"),
    ],
)
def test_tool_calls_are_json(message: dict[str, Any], calls: Any) -> None:
    found = only(body(choice({"content": None, **message}))).tool_calls
    assert (None if found is None else orjson.loads(found)) == calls


def test_tool_calls_stay_json_whatever_numbers_are_in_them() -> None:
    data = b'{"choices":[{"message":{"tool_calls":[{"a":' + b"9" * 400 + b',"b":NaN}]}}]}'
    found = only(data).tool_calls
    assert found is not None
    assert b"NaN" not in found.encode()


def test_deeply_nested_tool_calls_do_not_cost_the_text() -> None:
    data = b'{"choices":[{"message":{"content":"paid for","tool_calls":' + b"[" * 1000 + b"]" * 1000 + b"}}]}"
    assert only(data).text == "paid for"


def test_an_audio_answer_has_its_transcript() -> None:
    assert only(body(choice({"content": None, "audio": {"transcript": "spoken"}}))).audio_transcript == "spoken"
    assert only(body(choice({"content": None, "audio": "odd"}))).audio_transcript is None


def test_an_error_inside_a_choice_fails_its_row() -> None:
    output = only(body(choice({"content": "half"}, error={"code": 502, "message": "upstream died"})))
    assert (output.status, output.error_kind, output.text) == ("failed", "server", "half")
    assert "upstream died" in (output.error_message or "")


@pytest.mark.parametrize(
    ("indexes", "wanted", "texts"),
    [
        ([0, 1, 2], 3, ["0", "1", "2"]),
        ([2, 0, 1], 3, ["1", "2", "0"]),
        ([0, 0, 0], 3, ["0", "1", "2"]),
        ([None, None], 2, ["0", "1"]),
        ([1], 1, ["0"]),
        ([-1], 1, ["0"]),
        ([10**9], 1, ["0"]),
        ([True], 1, ["0"]),
        ([0], 3, ["0", None, None]),
        ([2], 3, [None, None, "0"]),
        ([0, 1], 1, ["0", "1"]),
    ],
)
def test_choices_get_their_places(indexes: list[Any], wanted: int, texts: list[str | None]) -> None:
    choices = [{"index": index, "message": {"content": str(n)}} for n, index in enumerate(indexes)]
    parsed = parse(body(*choices), 1, wanted)
    (outputs,) = parsed.outputs
    assert [output.text for output in outputs] == texts
    assert [output.choice for output in outputs] == list(range(len(texts)))
    missing = [output for output in outputs if output.text is None]
    assert {(output.status, output.error_kind) for output in missing} <= {("failed", "missing_choice")}
    assert bool(parsed.notes) == (len(indexes) > wanted)


@pytest.mark.parametrize("odd", [None, 7, "text", [], True])
def test_a_choice_that_is_no_object_is_a_missing_one_with_a_note(odd: Any) -> None:
    parsed = parse(body(odd), 1, 1)
    assert parsed.outputs[0][0].error_kind == "missing_choice"
    assert parsed.notes == ("choice 0 is not an object",)


@pytest.mark.parametrize("message", [None, "text", 3, []])
def test_a_choice_without_a_message_has_null_text_and_a_note(message: Any) -> None:
    parsed = parse(body(choice(message)), 1, 1)
    assert (parsed.outputs[0][0].text, parsed.outputs[0][0].status) == (None, "ok")
    assert parsed.notes == ("choice 0 has no message",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"7",
        b'"choices"',
        b"{}",
        b'{"choices":null}',
        b'{"choices":[]}',
        b'{"choices":{}}',
        b"<html>",
        b'{"choices":[{"message":{"content":"cut',
    ],
)
def test_what_is_no_answer_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(data, 1, 1)


def test_every_case_of_a_request_gets_the_outputs() -> None:
    assert len(parse(body(choice({"content": "x"})), 3, 1).outputs) == 3


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000.9, 1_700_000_000),
        (0, None),
        (-1, None),
        (2**40, None),
        ("1", None),
        (None, None),
        (True, None),
    ],
)
def test_created_is_seconds_or_null(created: Any, expected: int | None) -> None:
    assert parse(body(choice({}), created=created), 1, 1).created == expected


def test_top_fields_that_are_no_text_are_null() -> None:
    parsed = parse(body(choice({}), id=7, model=[], system_fingerprint={}, service_tier=1), 1, 1)
    assert (parsed.response_id, parsed.served_model, parsed.system_fingerprint, parsed.service_tier) == (None,) * 4


@pytest.mark.parametrize(
    ("spoil", "note"),
    [
        (lambda data: b"\xef\xbb\xbf" + data, "byte-order mark"),
        (lambda data: data + b"\ndata: [DONE]\n\n", "13 characters after the JSON value"),
        (lambda data: data.replace(b"word", b"wo\xffrd"), "invalid UTF-8"),
        (lambda data: data.replace(b"word", b"wo\\ud83drd"), "not strict JSON"),
        (lambda data: data.replace(b'"extra":0', b'"extra":NaN'), "not strict JSON"),
    ],
)
def test_a_spoilt_body_is_read_with_a_note(spoil: Any, note: str) -> None:
    parsed = parse(spoil(body(choice({"content": "a word"}), extra=0)), 1, 1)
    assert (parsed.outputs[0][0].text or "").replace("\ufffd", "") == "a word"
    assert note in parsed.notes[0]


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(("n", "wanted"), [(None, 1), (1, 1), (3, 3), (0, 1), (-2, 1), (True, 1), ("3", 1), (2.0, 1)])
def test_n_is_how_many_choices_are_wanted(n: Any, wanted: int) -> None:
    assert choices_wanted({} if n is None else {"n": n}) == wanted


@pytest.mark.parametrize(
    ("request_body", "tokens"),
    [
        ({}, 100 + 512),
        ({"max_completion_tokens": 10}, 110),
        ({"max_tokens": 20}, 120),
        ({"max_completion_tokens": 10, "max_tokens": 20}, 110),
        ({"max_tokens": 20, "n": 3}, 160),
        ({"max_tokens": "20"}, 612),
    ],
)
def test_the_token_reserve_is_prompt_and_longest_answer(request_body: dict[str, Any], tokens: int) -> None:
    assert reserve_tokens(request_body, 400) == tokens


def test_find_problem_names_what_to_do() -> None:
    problem = find_problem({"choices": []})
    assert problem is not None
    assert "check CONFIG" in problem.hint
    assert find_problem({"choices": [None]}) is None
