from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.endpoints.completions import asks_for_logprobs, choices_wanted, find_problem, parse, reserve_tokens
from runner.records import Output

BODIES = Path(__file__).parent.parent / "bodies"


def body(*choices: Any, **more: Any) -> bytes:
    return orjson.dumps({"choices": choices, **more})


def choice(text: Any = "x", **more: Any) -> dict[str, Any]:
    return {"index": 0, "text": text, "finish_reason": "stop", **more}


def only(data: bytes) -> Output:
    ((output,),) = parse(data, 1, 1).outputs
    return output


def golden(name: str) -> bytes:
    return (BODIES / name).read_bytes()


# ---------------------------------------------------------------- bodies of servers


def test_openais_own_shape_parses_into_the_right_columns() -> None:
    parsed = parse(golden("completion_openai.json"), 1, 1)
    ((output,),) = parsed.outputs
    assert (output.choice, output.status, output.text, output.finish_reason) == (0, "truncated", " Paris.", "length")
    logprobs = output.logprobs
    assert logprobs is not None
    assert (logprobs.tokens, logprobs.token_bytes) == ([" Paris", "."], [b" Paris", b"."])
    assert logprobs.token_logprobs == [-0.25, -1.5]
    assert logprobs.top_tokens == [[" Paris", " Lyon"], [".", ","]]
    assert logprobs.top_logprobs == [[-0.25, -2.5], [-1.5, -2.0]]
    assert (parsed.response_id, parsed.created) == ("cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7", 1589478378)
    assert (parsed.served_model, parsed.system_fingerprint) == ("gpt-3.5-turbo-instruct", "fp_44709d6fcb")
    assert (parsed.usage.prompt_tokens, parsed.usage.completion_tokens, parsed.usage.total_tokens) == (7, 2, 9)
    assert parsed.notes == ()


def test_an_echoed_prompt_has_no_value_at_its_first_token() -> None:
    output = only(golden("completion_vllm_echo.json"))
    assert (output.status, output.text, output.finish_reason) == ("ok", "1 + 1 = 2\n", "stop")
    logprobs = output.logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens) == output.text
    assert logprobs.token_logprobs == [None, -2.25, -0.5, -0.75, -0.125, -9999.0]
    assert logprobs.top_tokens == [[], [" +"], [" 1"], [" ="], [" 2"], ["\n"]]


def test_llamacpps_chat_shape_fills_the_same_columns() -> None:
    parsed = parse(golden("completion_llamacpp.json"), 1, 1)
    ((output,),) = parsed.outputs
    assert (output.status, output.text) == ("truncated", "\ufffd\0")
    logprobs = output.logprobs
    assert logprobs is not None
    assert logprobs.token_bytes == [b"\x8b", b"\0"]
    assert logprobs.token_logprobs == [-4.048205852508545, -4.30347204208374]
    assert logprobs.top_tokens == [["\ufffd", ""], ["\0", "\r"]]
    assert parsed.usage.cached_tokens == 0


def test_a_gateway_that_answers_as_chat_is_read_as_chat() -> None:
    parsed = parse(golden("completion_router.json"), 1, 1)
    assert parsed.outputs == ((Output(0, "ok", "The capital of France is Paris.", finish_reason="stop"),),)
    assert (parsed.response_id, parsed.usage.total_tokens) == ("gen-1", 15)


def test_a_chat_answer_may_call_tools_refuse_and_speak() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": None, "tool_calls": [call], "refusal": "No.", "audio": {"transcript": "spoken"}}
    output = only(body({"index": 0, "message": message, "finish_reason": "tool_calls"}))
    assert orjson.loads(output.tool_calls or "") == [call]
    assert (output.refusal, output.audio_transcript, output.status) == ("No.", "spoken", "refused")


def test_the_example_as_printed_is_read_here_too() -> None:
    parsed = parse(golden("seed_chat_printed.txt"), 1, 1)
    assert parsed.outputs == parse(golden("seed_chat.json"), 1, 1).outputs
    assert parsed.notes == ("trailing comma",)


def test_the_chat_examples_are_answers_of_a_gateway_here() -> None:
    output = only(golden("seed_logits.json"))
    assert (output.text, output.finish_reason, output.refusal, output.status) == ("2", "sto", None, "ok")
    assert output.logprobs is not None
    assert output.logprobs.top_tokens == [["2", "Two", "\u2082", "2", "1"]]


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("fields", "finish", "status"),
    [
        ({"finish_reason": "stop"}, "stop", "ok"),
        ({"finish_reason": "length"}, "length", "truncated"),
        ({"finish_reason": "sto"}, "sto", "ok"),
        ({"finish_reason": "eos_token"}, "eos_token", "ok"),
        ({"finish_reason": "content_filter"}, "content_filter", "content_filter"),
        ({"finish_reason": None}, None, "ok"),
        ({"finish_reason": 7}, None, "ok"),
        ({"finish_reason": "stop", "stop_reason": "\n"}, "stop", "ok"),
        ({"finish_reason": "stop", "stop_reason": 128001}, "stop", "ok"),
        ({"finish_reason": None, "stop_reason": "max_tokens"}, "max_tokens", "truncated"),
        ({"finish_reason": None, "stop_reason": None}, None, "ok"),
    ],
)
def test_status_follows_finish_reason(fields: dict[str, Any], finish: str | None, status: str) -> None:
    output = only(body(choice(**fields)))
    assert (output.finish_reason, output.status) == (finish, status)


@pytest.mark.parametrize(
    ("fields", "text", "notes"),
    [
        ({"text": "a"}, "a", ()),
        ({"text": ""}, "", ()),
        ({"text": None}, None, ()),
        ({"text": 7}, None, ()),
        ({}, None, ("choice 0 has no text",)),
        ({"message": None}, None, ("choice 0 has no text",)),
        ({"message": {"content": "m"}}, "m", ()),
        ({"text": "a", "message": {"content": "m"}}, "a", ()),
    ],
)
def test_text_in_any_shape_that_servers_send(fields: dict[str, Any], text: str | None, notes: tuple[str, ...]) -> None:
    parsed = parse(body({"index": 0, **fields}), 1, 1)
    assert parsed.outputs[0][0].text == text
    assert parsed.notes == notes


def test_missing_usage_is_null_without_a_note() -> None:
    parsed = parse(body(choice()), 1, 1)
    assert (parsed.usage.prompt_tokens, parsed.usage.raw, parsed.notes) == (None, None, ())


def test_an_error_inside_a_choice_fails_its_row_alone() -> None:
    data = body(choice("a"), choice("half", index=1, error={"code": 502, "message": "upstream died"}))
    first, second = parse(data, 1, 2).outputs[0]
    assert (first.status, second.status, second.error_kind, second.text) == ("ok", "failed", "server", "half")


INDEXES = [
    # one case: a choice without a usable index takes the next free place
    (1, 3, [0, 1, 2], ["0", "1", "2"], False),
    (1, 3, [2, 0, 1], ["1", "2", "0"], False),
    (1, 3, [0, 0, 0], ["0", "1", "2"], False),
    (1, 2, [None, None], ["0", "1"], False),
    (1, 2, [None, 0], ["1", "0"], False),
    (1, 1, [7], ["0"], False),
    (1, 1, [-1], ["0"], False),
    (1, 1, [True], ["0"], False),
    (1, 3, [2], [None, None, "0"], False),
    (1, 1, [0, 1], ["0"], True),
    (1, 1, [1, 0], ["1"], True),
    # several: case = index // choices, choice = index % choices
    (2, 2, [0, 1, 2, 3], ["0", "1", "2", "3"], False),
    (2, 2, [3, 2, 1, 0], ["3", "2", "1", "0"], False),
    (3, 1, [2, 0, 1], ["1", "2", "0"], False),
    (2, 2, [0, 3], ["0", None, None, "1"], False),
    # without usable indexes their order is taken, if there are as many as there should be
    (3, 1, [0, 0, 0], ["0", "1", "2"], True),
    (2, 2, [0, 1, 0, 1], ["0", "1", "2", "3"], True),
    (3, 1, [None, None, None], ["0", "1", "2"], True),
    # else nobody can say whose answer it is: rather none than another sample's
    (3, 1, [0, 0], [None, None, None], True),
    (3, 1, [0, 5, 1], ["0", "2", None], True),
    (3, 1, [0, 1, 1], ["0", None, None], True),
    (2, 1, [None, 0], ["1", None], True),
]


@pytest.mark.parametrize(("cases", "choices", "indexes", "texts", "noted"), INDEXES)
def test_choices_go_to_their_cases_by_index(
    cases: int,
    choices: int,
    indexes: list[Any],
    texts: list[str | None],
    noted: bool,  # noqa: FBT001 - a column of the table
) -> None:
    parsed = parse(body(*(choice(str(n), index=index) for n, index in enumerate(indexes))), cases, choices)
    assert [[output.choice for output in outputs] for outputs in parsed.outputs] == [list(range(choices))] * cases
    assert [output.text for outputs in parsed.outputs for output in outputs] == texts
    missing = [output for outputs in parsed.outputs for output in outputs if output.text is None]
    assert {(output.status, output.error_kind) for output in missing} <= {("failed", "missing_choice")}
    assert bool(parsed.notes) is noted


def test_a_choice_that_is_no_object_is_a_missing_one_with_a_note() -> None:
    parsed = parse(body(None, choice("b", index=1), 7), 2, 1)
    assert [outputs[0].text for outputs in parsed.outputs] == [None, "b"]
    assert parsed.notes == ("2 choices are not objects",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"choices":null}',
        b'{"choices":[]}',
        b'{"choices":{}}',
        b"<html>",
        b'{"choices',
    ],
)
def test_what_is_no_answer_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(data, 1, 1)


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("request_body", "wanted"),
    [
        ({}, 1),
        ({"prompt": "text"}, 1),
        ({"prompt": "text", "n": 3}, 3),
        ({"prompt": ["a"]}, 1),
        ({"prompt": ["a", "b"]}, 2),
        ({"prompt": ["a", "b"], "n": 3}, 6),
        ({"prompt": [5, 6, 7]}, 1),
        ({"prompt": [5, 6, 7], "n": 2}, 2),
        ({"prompt": [[5, 6], [7]]}, 2),
        ({"prompt": [[5, 6], [7]], "n": 2}, 4),
        ({"prompt": []}, 1),
        ({"prompt": None}, 1),
        ({"prompt": "text", "best_of": 5}, 1),
        ({"prompt": "text", "n": 0}, 1),
        ({"prompt": "text", "n": "3"}, 1),
        ({"prompt": "text", "n": True}, 1),
    ],
)
def test_n_for_each_prompt_is_how_many_choices_are_wanted(request_body: dict[str, Any], wanted: int) -> None:
    assert choices_wanted(request_body) == wanted


@pytest.mark.parametrize(
    ("request_body", "tokens"),
    [
        ({"prompt": "p"}, 100 + 16),
        ({"prompt": "p", "max_tokens": 50}, 150),
        ({"prompt": "p", "max_tokens": 50, "n": 2}, 200),
        ({"prompt": ["p", "q"], "max_tokens": 50, "n": 2}, 300),
        ({"prompt": "p", "max_tokens": 50, "best_of": 4}, 300),
        ({"prompt": "p", "max_completion_tokens": 30}, 130),
        ({"prompt": "p", "max_tokens": -1}, 116),
        ({"prompt": "p", "max_tokens": "50"}, 116),
    ],
)
def test_the_token_reserve_counts_every_candidate(request_body: dict[str, Any], tokens: int) -> None:
    assert reserve_tokens(request_body, 400) == tokens


@pytest.mark.parametrize(
    ("value", "asks"), [(None, False), (False, False), (0, True), (5, True), (True, True), ("{{ k }}", True)]
)
def test_zero_logprobs_asks_for_those_of_the_chosen_tokens(value: Any, asks: bool) -> None:  # noqa: FBT001 - a column of the table
    assert asks_for_logprobs({"logprobs": value}) is asks
    assert asks_for_logprobs({}) is False


def test_find_problem_names_what_to_do() -> None:
    problem = find_problem({"choices": []})
    assert problem is not None
    assert "model.path" in problem.hint
