"""Events of a streamed response come to the row that the response is without streaming; a cut stream never does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS
from runner.endpoints.response_stream import RESPONSE_STREAM
from runner.endpoints.responses import find_problem, parse
from runner.errors import BodyTooLargeError, DisconnectError, InvalidResponseError, kind_of
from runner.jsontext import NestingError
from runner.retry import error_in_body
from runner.simulate.response_events import events_of

if TYPE_CHECKING:
    from runner.endpoints import Streamed

BODIES = Path(__file__).parent.parent / "bodies"
DONE = b"data: [DONE]\n\n"
OPENAI = orjson.loads((BODIES / "response_openai.json").read_bytes())
INCOMPLETE = orjson.loads((BODIES / "response_incomplete.json").read_bytes())


def event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\n".encode() + b"data: " + orjson.dumps(value) + b"\n\n"


def last(response: Any, status: str = "completed") -> bytes:
    return event({"type": f"response.{status}", "response": response})


def stream_of(response: dict[str, Any]) -> bytes:
    return b"".join(map(event, events_of(response)))


def named(streamed: Streamed) -> str | None:
    return streamed.problem and kind_of(type(streamed.problem))


WHOLE = {"id": "resp_1", "object": "response", "status": "completed", "model": "m"}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
ANSWER = {**WHOLE, "output": [MESSAGE]}
DELTA = event({"type": "response.output_text.delta", "item_id": "a", "delta": "Hello"})


# ---------------------------------------------------------------- the same answer


@pytest.mark.parametrize("response", [OPENAI, INCOMPLETE])
@pytest.mark.parametrize("end", [b"", DONE])
def test_a_stream_is_the_answer_it_would_have_been(response: dict[str, Any], end: bytes) -> None:
    stream = stream_of(response) + end
    streamed = RESPONSE_STREAM.assemble(stream)
    assert (streamed.value, streamed.done, streamed.finished, streamed.problem) == (response, True, True, None)
    assert parse(stream, 1, 1) == parse(orjson.dumps(response), 1, 1)


def test_what_llamacpp_sends_is_read() -> None:
    parsed = parse((BODIES / "stream_response_llamacpp.txt").read_bytes(), 1, 1)
    ((output,),) = parsed.outputs
    assert (output.status, output.text) == ("ok", "L'\u00c9toile, la Marseillaise, la femme,")
    assert (parsed.response_id, parsed.served_model) == ("resp_BYyEApPa8xNvJ9RS7f3SEXJWXYW5lhUx", "smollm2-135m")
    assert (parsed.usage.prompt_tokens, parsed.usage.completion_tokens, parsed.usage.cached_tokens) == (37, 16, 36)
    assert parsed.notes == ()


@pytest.mark.parametrize(
    "stream",
    [
        last(ANSWER),
        last(ANSWER).partition(b"\n")[2],
        b'event: response.completed\ndata: {"response":' + orjson.dumps(ANSWER) + b"}\n\n",
        last(ANSWER).rstrip(),
        last(ANSWER).replace(b"\n\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n",
        DELTA.replace(b"\n\n", b"\n") + last(ANSWER).replace(b"\n\n", b"\n") + b"data: [DONE]",
        last(ANSWER) + b'data: {"half',
        b": ping\n\n" + b"event: ping\ndata: {}\n\n" + b"data: ping\n\n" + last(ANSWER),
        last({name: value for name, value in ANSWER.items() if name != "status"}),
        event({"type": "response.output_item.done", "output_index": 0, "item": MESSAGE})
        + last({**ANSWER, "output": []}),
        event({"type": "response.output_item.done", "item": MESSAGE}) + last(WHOLE),
    ],
)
def test_a_whole_response_is_read_however_it_comes(stream: bytes) -> None:
    streamed = RESPONSE_STREAM.assemble(stream)
    assert (streamed.value, streamed.problem) == (ANSWER, None)
    ((output,),) = parse(stream, 1, 1).outputs
    assert (output.text, output.status) == ("Hello", "ok")


def test_items_stand_in_their_places() -> None:
    items = [{"type": "message", "content": [{"type": "output_text", "text": text}]} for text in "ab"]
    events = [{"type": "response.output_item.done", "output_index": place, "item": items[place]} for place in (1, 0)]
    ((output,),) = parse(b"".join(map(event, events)) + last(WHOLE), 1, 1).outputs
    assert output.text == "ab"


# ---------------------------------------------------------------- what is whole


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (DELTA, "disconnect"),
        (DELTA + DONE, "disconnect"),
        (DELTA + last(ANSWER)[:-20], "disconnect"),
        (DELTA + last(None) + DONE, "disconnect"),
        (event({"type": "response.output_text.done", "text": "Hello"}), "disconnect"),
        (event({"type": "response.output_item.done", "item": MESSAGE}) + DONE, "disconnect"),
        (b": ping\n\n", "disconnect"),
        (DELTA + b'data: {"type":"response.out\n\n' + DONE, "invalid_response"),
        (DELTA + b'event: response.completed\ndata: {"type":"response.comp\n\n', "invalid_response"),
        (b"data: " + b"x" * (65 << 20) + b"\n\n" + last(ANSWER), "body_too_large"),
    ],
)
def test_what_is_not_whole_is_never_a_short_answer(stream: bytes, problem: str) -> None:
    streamed = RESPONSE_STREAM.assemble(stream)
    assert (named(streamed), streamed.finished) == (problem, False)
    with pytest.raises(ValueError, match="stream"):
        parse(stream, 1, 1)


def test_a_last_event_that_no_parser_reads_is_no_reason_to_buy_a_whole_response_again() -> None:
    deep = b'data: {"type":"response.completed","response":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n"
    with pytest.raises(NestingError):
        RESPONSE_STREAM.assemble(DELTA + b"event: response.completed\n" + deep)
    delta = b"event: response.output_text.delta\n" + deep
    assert named(RESPONSE_STREAM.assemble(DELTA + delta)) == "invalid_response"
    assert RESPONSE_STREAM.assemble(DELTA + delta + last(ANSWER)).value == ANSWER


def test_a_broken_delta_before_a_whole_response_is_noted() -> None:
    parsed = parse(DELTA + b'data: {"type":"response.out\n\n' + last(ANSWER), 1, 1)
    assert parsed.outputs[0][0].text == "Hello"
    assert [note.partition(" (")[0] for note in parsed.notes] == ["a chunk of the stream is no JSON"]


def test_a_response_may_be_as_large_as_an_answer_in_one_piece() -> None:
    item = {"type": "message", "content": [{"type": "output_text", "text": "x" * (20 << 20)}]}
    assert len(parse(last({**WHOLE, "output": [item]}), 1, 1).outputs[0][0].text or "") == 20 << 20


def test_no_prefix_of_a_stream_passes_for_another_answer() -> None:
    for sample in (stream_of(OPENAI), stream_of(INCOMPLETE)):
        whole = parse(sample, 1, 1)
        for end in range(len(sample)):
            if RESPONSE_STREAM.assemble(sample[:end]).problem is None:
                assert parse(sample[:end], 1, 1) == whole


@given(st.data())
def test_where_blocks_are_cut_does_not_matter(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from([stream_of(OPENAI), stream_of(INCOMPLETE)]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sample)), max_size=12)))
    assembler = RESPONSE_STREAM.open()
    for start, end in zip([0, *cuts], [*cuts, len(sample)], strict=True):
        assembler.feed(sample[start:end])
    assert assembler.end() == RESPONSE_STREAM.assemble(sample)


# ---------------------------------------------------------------- errors


FAILED = {**WHOLE, "status": "failed", "output": [], "error": {"code": "rate_limit_exceeded", "message": "slow down"}}


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (last(FAILED, "failed"), "rate_limit"),
        (last({**FAILED, "error": {"code": "server_error", "message": "m"}}, "failed"), "server"),
        (last({**FAILED, "error": None}, "failed"), "server"),
        (last({**WHOLE, "status": "cancelled", "output": []}, "cancelled"), "server"),
        (event({"type": "error", "code": "insufficient_quota", "message": "m", "param": None}), "quota"),
        (event({"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}), "rate_limit"),
        (b'event: error\ndata: {"message":"m","code":"rate_limit_exceeded"}\n\n', "rate_limit"),
        (b'data: {"error":{"message":"m","code":502}}\n\n', "server"),
        (b"event: error\ndata: it broke\n\n", "server"),
        (
            event({"type": "error", "code": "rate_limit_exceeded", "message": "m"}) + last(FAILED, "failed"),
            "rate_limit",
        ),
        (event({"type": "error", "code": "rate_limit_exceeded", "message": "m"}) + last(ANSWER), "rate_limit"),
    ],
)
@pytest.mark.parametrize("before", [b"", DELTA])
def test_an_error_in_mid_stream_is_that_of_a_body(before: bytes, stream: bytes, kind: str) -> None:
    streamed = RESPONSE_STREAM.assemble(before + stream)
    error = error_in_body(streamed.value) or streamed.problem or find_problem(streamed.value)
    assert error is not None
    assert kind_of(type(error)) == kind


# ---------------------------------------------------------------- the first output, and what was said


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ({"type": "response.created", "response": {**WHOLE, "output": []}}, False),
        ({"type": "response.in_progress", "response": ANSWER}, False),
        ({"type": "response.output_item.added", "item": {"type": "message", "content": []}}, False),
        ({"type": "response.output_item.added", "item": {"type": "reasoning", "summary": []}}, False),
        ({"type": "response.output_item.added", "item": None}, False),
        ({"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}}, False),
        ({"type": "response.output_text.delta", "delta": ""}, False),
        ({"type": "response.output_text.delta", "delta": 5}, False),
        ({"type": "error", "message": "m"}, False),
        ({"type": "response.output_text.delta", "delta": " "}, True),
        ({"type": "response.refusal.delta", "delta": "No"}, True),
        ({"type": "response.reasoning_summary_text.delta", "delta": "Hm"}, True),
        ({"type": "response.reasoning_text.delta", "delta": "Hm"}, True),
        ({"type": "response.function_call_arguments.delta", "delta": "{"}, True),
        ({"type": "response.output_item.added", "item": {"type": "function_call", "name": "f"}}, True),
        ({"type": "response.completed", "response": ANSWER}, True),
        ({"type": "response.incomplete", "response": {**WHOLE, "output": []}}, False),
    ],
)
def test_the_first_output_is_seen_when_it_comes(value: dict[str, Any], seen: bool) -> None:  # noqa: FBT001 - a column
    assembler = RESPONSE_STREAM.open()
    assembler.feed(b": ping\n\n" + event(value))
    assert assembler.output_seen is seen


def test_what_deltas_say_is_known_item_by_item() -> None:
    said = [("a", "He"), ("b", "By"), ("a", "llo"), ("b", "e")]
    deltas = [{"type": "response.output_text.delta", "item_id": item, "delta": text} for item, text in said]
    assert RESPONSE_STREAM.assemble(b"".join(map(event, deltas))).spoken == ("Hello", "Bye")


# ---------------------------------------------------------------- hostile streams


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(
    [
        "response.completed",
        "response.failed",
        "response.output_item.done",
        "response.output_item.added",
        "x.delta",
        "error",
    ]
)
ODD_EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "type": KINDS | JSON,
        "response": JSON | st.fixed_dictionaries({}, optional={"output": JSON, "status": JSON, "error": JSON}),
        "item": JSON,
        "output_index": JSON,
        "item_id": JSON,
        "delta": JSON,
        "error": JSON,
    },
)


@given(st.lists(JSON | ODD_EVENTS, max_size=5))
def test_whatever_events_hold_they_come_to_a_row_or_to_a_problem(events: list[Any]) -> None:
    stream = b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in events)
    streamed = RESPONSE_STREAM.assemble(stream)
    if stream and streamed.problem is None and find_problem(streamed.value) is None:
        assert len(parse(stream, 1, 1).outputs[0]) == 1


@given(st.binary(max_size=200))
def test_whatever_bytes_come_they_are_no_crash(data: bytes) -> None:
    streamed = RESPONSE_STREAM.assemble(data)
    assert isinstance(streamed.problem, (DisconnectError, InvalidResponseError, BodyTooLargeError))


# ---------------------------------------------------------------- asking for it


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"a": 1}, {"a": 1, "stream": True}),
        ({"a": '"stream"'}, {"a": '"stream"', "stream": True}),
        ({"stream": False}, {"stream": True}),
        (
            {"stream_options": {"include_obfuscation": False}},
            {"stream": True, "stream_options": {"include_obfuscation": False}},
        ),
        ({"stream_options": None}, {"stream": True}),
    ],
)
def test_a_stream_is_asked_for_without_usage_which_comes_anyway(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    shape = ENDPOINTS["responses"].stream
    assert shape is not None
    made = shape.ask(orjson.dumps(asked))
    assert orjson.loads(made) == sent
    assert made.count(b'"stream":') == 1
