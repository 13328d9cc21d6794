from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS
from runner.simulate.answers import AnswerStyle, Stamp, build_joint_answer
from runner.simulate.details import FaultDetails
from runner.simulate.faults import ANSWERLESS, shape
from runner.simulate.forms import FORMS, ask_chat, ask_completions, ask_logits, ask_responses
from runner.simulate.judge import Judge, Place, open_envelope
from runner.simulate.options import SimulatorOptions
from runner.simulate.prompts import InvalidRequestError, request_digest
from runner.simulate.response_events import events_of
from runner.simulate.spoils import SPOILS
from runner.simulate.variants import VARIANTS

STYLE = AnswerStyle(completion_tokens=8)
STAMP = Stamp(seed=0, number=1, created=1_700_000_000)
DETAILS = FaultDetails(huge_bytes=4096, bomb_bytes=100_000)
INCLUDE = {"include": ["message.output_text.logprobs"]}


def complete(style: AnswerStyle = STYLE, **body: Any) -> dict[str, Any]:
    asked = ask_completions({"model": "m", "prompt": "Once upon a time", **body}, request_digest(body))
    return asked.dress(build_joint_answer(asked, style, STAMP))


def respond(**body: Any) -> dict[str, Any]:
    body = {"model": "m", "input": "Hello", **body}
    asked = ask_responses(body, request_digest(body))
    return asked.dress(build_joint_answer(asked, STYLE, STAMP))


def refused(read: Any, **body: Any) -> tuple[str | None, str | None]:
    with pytest.raises(InvalidRequestError) as caught:
        read(body, request_digest(body))
    return caught.value.body.param, caught.value.body.code


# ---------------------------------------------------------------- completions


def test_a_completion_has_openais_shape() -> None:
    answer = complete(max_tokens=3)
    (choice,) = answer["choices"]
    assert set(choice) == {"index", "text", "logprobs", "finish_reason"}
    assert (choice["logprobs"], choice["finish_reason"], len(choice["text"])) == (None, "length", 12)
    assert (answer["object"], answer["model"], answer["created"]) == ("text_completion", "m", 1_700_000_000)
    assert answer["id"].startswith("cmpl-")
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (4, 3)


def test_sixteen_tokens_are_the_default() -> None:
    style = AnswerStyle(completion_tokens=40)
    assert complete(style)["usage"]["completion_tokens"] == 16
    assert complete(style, max_tokens=30)["usage"]["completion_tokens"] == 30


def test_a_prompt_gets_the_same_text_alone_and_among_others() -> None:
    def texts(**body: Any) -> list[str]:
        asked = ask_completions(body, request_digest(body))
        return [choice["text"] for choice in asked.dress(build_joint_answer(asked, STYLE, STAMP))["choices"]]

    prompts = ["a", "b", "c"]
    alone = [texts(prompt=prompt, n=2) for prompt in prompts]
    together = texts(prompt=prompts, n=2)
    assert together == [text for pair in alone for text in pair]
    assert len(set(together)) == 6
    assert texts(prompt=prompts[::-1], n=2) == [text for pair in alone[::-1] for text in pair]
    assert texts(prompt=[[5, 6], [7]]) == texts(prompt=[5, 6]) + texts(prompt=[7])
    assert texts(prompt="a") != texts(prompt="a", suffix="z") != texts(prompt="a", seed=1)


def test_prompts_and_choices_count_into_the_usage() -> None:
    answer = complete(prompt=["abcd", "abcdefgh"], n=2, max_tokens=2)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (3, 8, 11)
    assert complete(prompt=[1, 2, 3, 4, 5])["usage"]["prompt_tokens"] == 5


@given(
    prompt=st.text(min_size=1, max_size=30),
    top=st.integers(0, 5),
    echo=st.booleans(),
    greedy=st.booleans(),
    n=st.integers(1, 3),
)
def test_log_probabilities_stand_side_by_side_with_right_offsets(
    prompt: str,
    top: int,
    echo: bool,  # noqa: FBT001 - Hypothesis passes by name
    greedy: bool,  # noqa: FBT001 - the same
    n: int,
) -> None:
    prompt = prompt.encode(errors="replace").decode()
    answer = complete(prompt=prompt, logprobs=top, echo=echo, temperature=0 if greedy else 1, n=n)
    for choice in answer["choices"]:
        logprobs, text = choice["logprobs"], choice["text"]
        assert set(logprobs) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
        assert len({len(values) for values in logprobs.values()}) == 1
        whole = text if echo else prompt + text
        assert text.startswith(prompt) or not echo
        assert "".join(logprobs["tokens"]) == text
        for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
            assert whole[offset : offset + len(token)] == token
        nothing = [value is None for value in logprobs["token_logprobs"]]
        assert nothing == [echo, *[False] * (len(nothing) - 1)]
        assert [tops is None for tops in logprobs["top_logprobs"]] == nothing
        rows = zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True)
        for token, value, tops in rows:
            if tops is not None:
                assert tops[token] == value
                assert top <= len(tops) <= top + 1


def test_nothing_may_be_generated_to_score_a_prompt() -> None:
    answer = complete(max_tokens=0, echo=True, logprobs=1)
    (choice,) = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("Once upon a time", "length")
    assert "".join(choice["logprobs"]["tokens"]) == "Once upon a time"
    assert answer["usage"]["completion_tokens"] == 0


def test_stop_and_the_flag_of_gateways_work_as_in_chat() -> None:
    full = complete()["choices"][0]["text"]
    assert complete(stop=[full[5:8]])["choices"][0]["text"] == full[: full.index(full[5:8])]
    assert complete(logprobs=True, top_logprobs=2)["choices"][0]["logprobs"] is not None
    assert complete(logprobs=False)["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "prompt", "missing_required_parameter"),
        ({"prompt": []}, "prompt", "invalid_type"),
        ({"prompt": 5}, "prompt", "invalid_type"),
        ({"prompt": ["a", 5]}, "prompt", "invalid_type"),
        ({"prompt": [[1], []]}, "prompt", "invalid_type"),
        ({"prompt": [True]}, "prompt", "invalid_type"),
        ({"prompt": "a", "logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"prompt": "a", "logprobs": "5"}, "logprobs", "invalid_type"),
        ({"prompt": "a", "n": 2, "best_of": 1}, "best_of", "invalid_value"),
        ({"prompt": "a", "best_of": "3"}, "best_of", "invalid_value"),
        ({"prompt": "a", "max_tokens": -1}, "max_tokens", "integer_below_min_value"),
        ({"prompt": "a", "temperature": "hot"}, "temperature", "invalid_type"),
        ({"prompt": "a", "stop": list("abcde")}, "stop", "array_above_max_length"),
        ({"prompt": "a", "model": 5}, "model", "invalid_type"),
    ],
)
def test_what_is_wrong_with_a_completion_is_refused_by_name(body: dict[str, Any], param: str, code: str) -> None:
    assert refused(ask_completions, **body) == (param, code)


# ---------------------------------------------------------------- responses


def test_a_response_has_openais_shape() -> None:
    answer = respond()
    (item,) = answer["output"]
    assert (item["type"], item["role"], item["content"][0]["type"]) == ("message", "assistant", "output_text")
    assert item["content"][0]["logprobs"] == []
    assert (answer["object"], answer["status"], answer["error"]) == ("response", "completed", None)
    usage = answer["usage"]
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]
    assert usage["input_tokens_details"] == {"cached_tokens": 0}


def test_a_response_that_reaches_its_maximum_is_incomplete() -> None:
    answer = respond(max_output_tokens=2)
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_log_probabilities_come_when_they_are_included() -> None:
    (item,) = respond(top_logprobs=2, **INCLUDE)["output"]
    (part,) = item["content"]
    assert "".join(entry["token"] for entry in part["logprobs"]) == part["text"]
    assert {len(entry["top_logprobs"]) for entry in part["logprobs"]} == {2}


def test_input_and_instructions_decide_the_text() -> None:
    def text(**body: Any) -> str:
        return str(respond(**body)["output"][0]["content"][0]["text"])

    result = {"type": "function_call_output", "call_id": "c", "output": "42"}
    asked: list[dict[str, Any]] = [{}, {"input": "Bye"}, {"instructions": "Be brief."}, {"input": [result]}]
    assert len({text(**body) for body in asked}) == 4
    assert text(input="Hello") == text()


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "empty_array"),
        ({"input": 5}, "input", "invalid_type"),
        ({"input": "a", "max_output_tokens": 0}, "max_output_tokens", "integer_below_min_value"),
        ({"input": "a", "temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"input": "a", "top_logprobs": 21, **INCLUDE}, "top_logprobs", "integer_above_max_value"),
        (
            {"input": "a", "stream": True, "stream_options": {"include_usage": True}},
            "stream_options.include_usage",
            "unknown_parameter",
        ),
    ],
)
def test_what_is_wrong_with_a_responses_request_is_refused_by_name(body: dict[str, Any], param: str, code: str) -> None:
    assert refused(ask_responses, **body) == (param, code)


def heard(events: list[dict[str, Any]], kind: str) -> str:
    return "".join(event["delta"] for event in events if event["type"] == f"response.{kind}.delta")


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ({}, {"output_text"}),
        (INCLUDE, {"output_text"}),
        ({"max_output_tokens": 2}, {"output_text"}),
        ({"input": "Hello", "fault": "refusal"}, {"refusal"}),
        ({"input": "Hello", "fault": "reasoning"}, {"reasoning_summary_text", "output_text"}),
        ({"input": "Hello", "fault": "tool_calls"}, {"function_call_arguments"}),
    ],
)
def test_a_streamed_response_tells_each_text_and_ends_with_the_whole(body: dict[str, Any], kinds: set[str]) -> None:
    asked = ask_responses({"model": "m", "input": "Hello", **body}, request_digest(body))
    answer = build_joint_answer(asked, STYLE, STAMP)
    if "fault" in body:
        VARIANTS[body["fault"]](answer)
    response = asked.dress(answer)
    events = list(events_of(response))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert (events[-1]["type"], events[-1]["response"]) == (f"response.{response['status']}", response)
    assert [event["item"] for event in events if event["type"] == "response.output_item.done"] == response["output"]
    output = ENDPOINTS["responses"].parse(orjson.dumps(response), 1, 1).outputs[0][0]
    arguments = "".join(call["function"]["arguments"] for call in orjson.loads(output.tool_calls or "[]"))
    told = {
        "output_text": output.text,
        "refusal": output.refusal,
        "reasoning_summary_text": output.reasoning,
        "function_call_arguments": arguments,
    }
    assert {kind: text for kind in told if (text := heard(events, kind))} == {kind: told[kind] for kind in kinds}
    entries = [entry for event in events if event["type"].endswith(".delta") for entry in event.get("logprobs", ())]
    assert bool(entries) == ("include" in body)
    assert "".join(entry["token"] for entry in entries) == (output.text if entries else "")


# ---------------------------------------------------------------- all of them


def test_the_path_for_log_probabilities_needs_no_flag() -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    assert ask_logits(body, "ab").whole.top_logprobs == 0
    assert ask_logits({**body, "top_logprobs": 5}, "ab").whole.top_logprobs == 5
    assert ask_chat(body, "ab").whole.top_logprobs is None


def test_digests_tell_prompts_and_inputs_apart() -> None:
    bodies: list[dict[str, Any]] = [
        {"prompt": "a"},
        {"prompt": "b"},
        {"prompt": ["a"]},
        {"prompt": "a", "suffix": "s"},
        {"input": "a"},
        {"input": "a", "instructions": "i"},
        {"input": "a", "seed": 1},
    ]
    assert len({request_digest(body) for body in bodies}) == len(bodies)
    assert request_digest({"prompt": "a", "model": "m", "n": 2}) == request_digest({"prompt": "a"})


@pytest.mark.parametrize("name", ["completions", "responses"])
@pytest.mark.parametrize("kind", sorted([*VARIANTS, *SPOILS]))
def test_every_fault_strikes_in_the_shape_that_was_asked_for(name: str, kind: str) -> None:
    endpoint = ENDPOINTS[name]
    body = {"model": "m", "prompt": ["a", "b"], "n": 2} if name == "completions" else {"model": "m", "input": "a"}
    asked = FORMS[endpoint.path](body, request_digest(body))
    reply = shape(kind, build_joint_answer(asked, STYLE, STAMP), DETAILS, asked.dress)
    assert b'"message":{' not in reply.body
    if kind not in ANSWERLESS and reply.status == 200 and kind not in {"gzip_bomb", "deep_nesting"}:
        parsed = endpoint.parse(reply.body, 2 if name == "completions" else 1, 2 if name == "completions" else 1)
        assert parsed.outputs[0][0].status in {"ok", "refused", "content_filter"}


def test_models_and_limits_are_the_same_for_all() -> None:
    judge = Judge(SimulatorOptions(models=("known",), context_tokens=10), lambda: 0.0, lambda: 0.0)
    bodies: dict[str, dict[str, Any]] = {
        "/completions": {"prompt": "hi"},
        "/responses": {"input": "hi"},
        "/logits": {"messages": [{"role": "user", "content": "hi"}]},
    }
    for path, body in bodies.items():
        answers = []
        for more in ({"model": "other"}, {"model": "known", "max_tokens": 1000, "max_output_tokens": 1000}):
            envelope = open_envelope(orjson.dumps(body | more), None, FORMS[path])
            answers.append(orjson.loads(judge.judge(envelope, Place(1, 1)).reply.body)["error"]["code"])
        assert answers == ["model_not_found", "context_length_exceeded"]
