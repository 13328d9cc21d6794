"""Chunks of a stream become the answer that stands in the same row as without streaming; a cut stream never does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS
from runner.endpoints.chat_stream import CHAT_STREAM
from runner.endpoints.completion_stream import COMPLETION_STREAM
from runner.errors import BodyTooLargeError, DisconnectError, InvalidResponseError, kind_of
from runner.jsontext import NestingError
from runner.retry import error_in_body

if TYPE_CHECKING:
    from runner.endpoints import Streamed
    from runner.records import Output

CHAT = ENDPOINTS["chat"]
DONE = b"data: [DONE]\n\n"
TOP = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m", "system_fingerprint": "fp"}


def event(chunk: Any) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def piece(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish, **more}


def body(*pieces: dict[str, Any]) -> bytes:
    """Return a whole stream with one chunk for each piece of a choice."""
    return b"".join(event({**TOP, "choices": [one]}) for one in pieces) + DONE


def words(*texts: str, finish: str | None = "stop") -> bytes:
    return body(
        piece({"role": "assistant", "content": ""}), *(piece({"content": one}) for one in texts), piece({}, finish)
    )


def output(stream: bytes) -> Output:
    return CHAT.parse(stream, 1, 1).outputs[0][0]


def message(*deltas: Any, finish: str = "stop") -> dict[str, Any]:
    """Return the message that these deltas come to."""
    streamed = CHAT_STREAM.assemble(body(*(piece(delta) for delta in deltas), piece({}, finish)))
    assert streamed.problem is None
    made: dict[str, Any] = streamed.value["choices"][0]["message"]
    return made


def test_a_stream_is_the_answer_it_would_have_been() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    told = {**TOP, "object": "chat.completion", "service_tier": "default", "usage": usage}
    said = {"role": "assistant", "content": "Hello there"}
    plain = {**told, "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": "stop"}]}
    chunks = [
        {**TOP, "service_tier": "default", "usage": None, "choices": [piece(delta, finish)]}
        for delta, finish in (
            ({"role": "assistant", "content": ""}, None),
            ({"content": "Hello"}, None),
            ({"content": " there"}, None),
            ({}, "stop"),
        )
    ]
    stream = b"".join(map(event, [*chunks, {**TOP, "service_tier": "default", "choices": [], "usage": usage}])) + DONE
    assert CHAT_STREAM.assemble(stream).value == plain
    assert CHAT.parse(stream, 1, 1) == CHAT.parse(orjson.dumps(plain), 1, 1)


@pytest.mark.parametrize(
    ("deltas", "made"),
    [
        (({"content": None}, {"content": None}), {"content": None}),
        (({"content": ""},), {"content": ""}),
        (({}, {"content": 5}), {"content": None}),
        (
            ({"reasoning_content": "a"}, {"reasoning_content": "b"}, {"content": "c"}),
            {"content": "c", "reasoning_content": "ab"},
        ),
        (({"reasoning": "a"}, {"reasoning": "b"}, {"content": ""}), {"content": "", "reasoning": "ab"}),
        (
            ({"role": "assistant", "content": ""}, {"refusal": "I "}, {"refusal": "won't"}),
            {"content": None, "refusal": "I won't"},
        ),
        (
            ({"content": "a", "refusal": "None"}, {"content": "b", "refusal": "None"}),
            {"content": "ab", "refusal": "None"},
        ),
        (({"refusal": "None"}, {"refusal": " of it"}), {"content": None, "refusal": "None of it"}),
        (
            ({"content": "", "function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}),
            {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
        ),
        (
            ({"audio": {"id": "a", "transcript": "He"}}, {"audio": {"transcript": "llo"}}, {"audio": {"data": "QQ=="}}),
            {"content": None, "audio": {"transcript": "Hello"}},
        ),
        (
            ({"content": "a"}, {"content": [{"type": "text", "text": "b"}]}, {"content": "c"}),
            {"content": [{"type": "text", "text": one} for one in "abc"]},
        ),
    ],
)
def test_deltas_come_to_a_message(deltas: tuple[Any, ...], made: dict[str, Any]) -> None:
    assert message(*deltas) == {"role": "assistant", **made}


def call(index: int | None = None, own_id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    fields = {"index": index, "id": own_id, "type": "function" if name else None, "function": function}
    return {"tool_calls": [{key: value for key, value in fields.items() if value is not None}]}


def called(own_id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    made = {"id": own_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in made.items() if value is not None}


A, B = called("a", "f", '{"x":1}'), called("b", "g", "{}")


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        ((call(0, "a", "f", ""), call(0, arguments='{"x"'), call(0, arguments=":1}")), [A]),
        ((call(0, "a", "f", '{"x"'), call(1, "b", "g", "{"), call(0, arguments=":1}"), call(1, arguments="}")), [A, B]),
        ((call(1, "b", "g", "{}"), call(0, "a", "f", '{"x":1}')), [A, B]),
        # An id, or id and name, in every piece.
        ((call(0, "a", "f", '{"x"'), call(0, "a", arguments=":1}")), [A]),
        ((call(0, "a", "f", '{"x"'), call(0, "a", "f", ":1}")), [A]),
        # A name in pieces.
        ((call(0, "a", "look", ""), call(0, name="up", arguments="{}")), [called("a", "lookup", "{}")]),
        # Whole calls, all with index 0; and without an index.
        ((call(0, "a", "f", '{"x":1}'), call(0, "b", "g", "{}")), [A, B]),
        ((call(None, "a", "f", '{"x":1}'), call(None, "b", "g", "{}")), [A, B]),
        ((call(None, "a", "f", '{"x"'), call(None, arguments=":1}"), call(None, "b", "g", "{}")), [A, B]),
        ((call(None, None, "f", {"x": 1}), call(None, None, "f", {"x": 1})), [called(None, "f", {"x": 1})] * 2),
        # Another id without a name is a server that makes one up for each piece.
        ((call(0, "a", "f", '{"x"'), call(0, "z", arguments=":1}")), [A]),
        (({"tool_calls": None}, {"tool_calls": []}, {"tool_calls": [5, "x"]}), None),
    ],
)
def test_pieces_of_tool_calls_come_to_calls(deltas: tuple[Any, ...], calls: list[Any] | None) -> None:
    assert message(*deltas, finish="tool_calls").get("tool_calls") == calls


def test_choices_that_take_turns_are_told_apart() -> None:
    pieces = [piece({"content": f"{index}{turn}"}, index=index) for turn in range(3) for index in (2, 0, 1)]
    stream = body(*pieces, *(piece({}, "stop", index) for index in range(3)))
    texts = [one.text for one in CHAT.parse(stream, 1, 3).outputs[0]]
    assert texts == ["000102", "101112", "202122"]


def entry(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}


def test_log_probabilities_are_joined() -> None:
    stream = body(
        piece({"role": "assistant", "content": ""}, logprobs={"content": [], "refusal": None}),
        piece({"content": "a"}, logprobs={"content": [entry("a")], "refusal": None}),
        piece({"content": "bc"}, logprobs={"content": [entry("b"), entry("c")], "refusal": None}),
        piece({}, "stop", logprobs=None),
    )
    made = output(stream).logprobs
    assert made is not None
    assert (made.tokens, made.token_logprobs) == (["a", "b", "c"], [-0.5] * 3)
    assert output(words("a")).logprobs is None


def test_log_probabilities_of_a_refusal_stand_under_its_name() -> None:
    stream = body(
        piece({"content": ""}, logprobs={"content": [], "refusal": None}),
        piece({"refusal": "No"}, logprobs={"content": None, "refusal": [entry("No")]}),
        piece({"refusal": "."}, logprobs={"content": None, "refusal": [entry(".")]}),
        piece({}, "stop"),
    )
    made = output(stream)
    assert made.logprobs is not None
    assert (made.status, made.text, made.refusal, made.logprobs.tokens) == ("refused", None, "No.", ["No", "."])


def test_fields_of_the_top_are_those_that_say_something() -> None:
    azure = {"id": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
    first = {**TOP, "system_fingerprint": None, "choices": [piece({"content": "a"})], "usage": {"total_tokens": 1}}
    last = {**TOP, "id": "c2", "choices": [piece({}, "stop")], "usage": {"total_tokens": 2}, "service_tier": "flex"}
    parsed = CHAT.parse(b"".join(map(event, (azure, first, last))) + DONE, 1, 1)
    assert (parsed.response_id, parsed.created, parsed.served_model) == ("c1", 5, "m")
    assert (parsed.system_fingerprint, parsed.service_tier, parsed.usage.total_tokens) == ("fp", "flex", 2)


def test_usage_may_stand_in_a_choice() -> None:
    stream = body(piece({"content": "a"}), piece({}, "stop", usage={"total_tokens": 7}))
    assert CHAT.parse(stream, 1, 1).usage.total_tokens == 7


def test_a_whole_answer_in_one_event_is_read() -> None:
    whole = {
        **TOP,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    }
    assert output(event(whole)).text == "Hi"


# ---------------------------------------------------------------- what is whole


def named(streamed: Streamed) -> str | None:
    return streamed.problem and kind_of(type(streamed.problem))


START = event({**TOP, "choices": [piece({"content": "Hello"})]})
STOP = event({**TOP, "choices": [piece({}, "stop")]})


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (START + STOP + DONE, None),
        (START + STOP, None),
        (START + STOP.rstrip(), None),
        (START + STOP + DONE.rstrip(), None),
        (START + STOP + DONE + b'data: {"half', None),
        (START.replace(b"\n\n", b"\n") + STOP.replace(b"\n\n", b"\n") + b"data: [DONE]", None),
        (b": ping\n\n" + START + b"data: ping\n\n" + b"event: ping\ndata: {}\n\n" + STOP, None),
        (START, "disconnect"),
        (START + STOP[:-20], "disconnect"),
        (START + STOP + b'data: {"choices":[{"index":1,"delta":{"con', "disconnect"),
        (START + event({"choices": [piece({"content": "x"}, index=1)]}) + STOP, "disconnect"),
        (b": ping\n\n: ping\n\n", "disconnect"),
        (b"data: \n\n", "disconnect"),
        (event({"choices": [], "usage": {"total_tokens": 1}}), "disconnect"),
        (START + b'data: {"choices":[{"del\n\n' + STOP + DONE, "invalid_response"),
        (START.rstrip() + b'{"more":1}\n\n' + STOP + DONE, "invalid_response"),
        (b"data: " + b"x" * (17 << 20) + b"\n\n" + STOP + DONE, "body_too_large"),
    ],
)
def test_a_stream_is_whole_or_says_why_not(stream: bytes, problem: str | None) -> None:
    assert named(CHAT_STREAM.assemble(stream)) == problem
    if problem is None:
        assert output(stream).text == "Hello"
    else:
        with pytest.raises(ValueError, match="stream"):
            CHAT.parse(stream, 1, 1)


def test_an_end_mark_without_a_reason_is_taken_and_noted() -> None:
    parsed = CHAT.parse(START + DONE, 1, 1)
    assert (parsed.outputs[0][0].text, parsed.outputs[0][0].finish_reason) == ("Hello", None)
    assert parsed.notes == ("choice 0 has no finish_reason: its stream may have been cut",)
    assert not CHAT_STREAM.assemble(START + DONE).finished


def test_a_chunk_that_no_parser_reads_is_no_reason_to_buy_a_whole_stream_again() -> None:
    deep = b'data: {"choices":[],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n"
    with pytest.raises(NestingError):
        CHAT_STREAM.assemble(START + deep + STOP + DONE)
    assert isinstance(CHAT_STREAM.assemble(START + deep).problem, InvalidResponseError)


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (event({"error": {"message": "m", "code": 429}}), "rate_limit"),
        (event({"error": {"message": "m", "type": "overloaded_error"}, "type": "error"}), "overload"),
        (event({"object": "error", "message": "m", "code": 400}), "bad_request"),
        (event({"error": "boom"}), "server"),
        (b'event: error\ndata: {"message":"m","type":"rate_limit_error"}\n\n', "rate_limit"),
        (b'event: error\ndata: {"error":"m","error_type":"overloaded"}\n\n', "overload"),
        (b"event: error\ndata: it broke\n\n", "server"),
        (b'event: error\ndata: "it broke"\n\n', "server"),
        (b'error: {"code":503,"message":"m","type":"unavailable_error"}\n\n', "overload"),
        (b'data: {"error":{"message":"m","code":502}}', "server"),
        (event({"error": {"code": "insufficient_quota", "message": "m"}}), "quota"),
    ],
)
@pytest.mark.parametrize("before", [b"", START, START + b": ping\n\n"])
@pytest.mark.parametrize("after", [b"", DONE])
def test_an_error_in_mid_stream_is_classified_as_in_a_body(
    before: bytes, stream: bytes, after: bytes, kind: str
) -> None:
    if after and not stream.endswith(b"\n"):
        stream += b"\n\n"
    error = error_in_body(CHAT_STREAM.assemble(before + stream + after).value)
    assert error is not None
    assert kind_of(type(error)) == kind


def test_an_empty_error_is_none() -> None:
    streamed = CHAT_STREAM.assemble(event({"error": {"message": None}, "choices": [piece({"content": "a"}, "stop")]}))
    assert error_in_body(streamed.value) is None


SAMPLES = [
    words("Hel", "lo ", "\u6771\u4eac", ' "x"\n', "end"),
    words("Hello", finish="length").replace(b"\n", b"\r\n"),
    body(piece(call(0, "a", "f", "")), piece(call(0, arguments='{"x":1}')), piece({}, "tool_calls")).replace(DONE, b""),
    b": ping\n\n" + words("a", "b").replace(b',"', b'\ndata: ,"'),
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_no_prefix_of_a_stream_passes_for_another_answer(sample: bytes) -> None:
    whole = output(sample)
    for end in range(len(sample)):
        streamed = CHAT_STREAM.assemble(sample[:end])
        if streamed.problem is None:
            assert output(sample[:end]) == whole


@given(st.sampled_from(SAMPLES), st.data())
def test_where_blocks_are_cut_does_not_matter(sample: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sample)), max_size=12)))
    assembler = CHAT_STREAM.open()
    for start, end in zip([0, *cuts], [*cuts, len(sample)], strict=True):
        assembler.feed(sample[start:end])
    assert assembler.end() == CHAT_STREAM.assemble(sample)


@pytest.mark.parametrize(
    ("delta", "seen"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"content": None, "refusal": None, "reasoning_content": ""}, False),
        ({"refusal": "None"}, False),
        ({"tool_calls": []}, False),
        ({"annotations": [1]}, False),
        ({"content": " "}, True),
        ({"content": [{"type": "text", "text": "a"}]}, True),
        ({"reasoning": "a"}, True),
        ({"reasoning_content": "a"}, True),
        ({"refusal": "a"}, True),
        (call(0, "a", "f", ""), True),
        ({"function_call": {"name": "f"}}, True),
        ({"audio": {"data": "QQ=="}}, True),
    ],
)
def test_the_first_output_is_seen_when_it_comes(delta: Any, seen: bool) -> None:  # noqa: FBT001 - a table's column
    assembler = CHAT_STREAM.open()
    assembler.feed(b": ping\n\n" + event({**TOP, "choices": [], "usage": {"total_tokens": 1}}))
    assert not assembler.output_seen
    assembler.feed(event({**TOP, "choices": [piece(delta)]}))
    assert assembler.output_seen is seen


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    "content",
    "refusal",
    "tool_calls",
    "function_call",
    "audio",
    "reasoning",
    "role",
    "function",
    "id",
    "name",
    "x",
)
DELTAS = st.dictionaries(
    st.sampled_from(NAMES), JSON | st.lists(st.dictionaries(st.sampled_from([*NAMES, "index"]), JSON))
)
ODD_PIECES = st.fixed_dictionaries(
    {},
    optional={
        "index": JSON,
        "delta": JSON | DELTAS,
        "message": JSON,
        "finish_reason": JSON,
        "logprobs": JSON,
        "error": JSON,
    },
)
ODD_CHUNKS = st.fixed_dictionaries(
    {}, optional={"choices": JSON | st.lists(JSON | ODD_PIECES, max_size=3), "usage": JSON, "id": JSON, "error": JSON}
)


@given(st.lists(JSON | ODD_CHUNKS, max_size=5))
def test_whatever_chunks_hold_they_come_to_rows_or_to_a_problem(chunks: list[Any]) -> None:
    stream = b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + DONE
    streamed = CHAT_STREAM.assemble(stream)
    if streamed.problem is None and CHAT.find_problem(streamed.value) is None:
        assert len(CHAT.parse(stream, 1, 2).outputs[0]) >= 2


@given(st.binary(max_size=200))
def test_whatever_bytes_come_they_are_no_crash(data: bytes) -> None:
    streamed = CHAT_STREAM.assemble(data)
    assert streamed.problem is None or isinstance(
        streamed.problem, (DisconnectError, InvalidResponseError, BodyTooLargeError)
    )


def test_pieces_without_number_cost_time_in_proportion_and_no_choices_without_number() -> None:
    pieces = [piece(call(0, name="ab", arguments="x"))] * 20_000 + [piece({}, "stop", number) for number in range(5000)]
    streamed = CHAT_STREAM.assemble(body(*pieces))
    assert len(streamed.value["choices"]) == 1024
    assert "more than 1024 choices" in streamed.notes


def test_pieces_of_a_text_completion_are_one_text() -> None:
    def chunk(text: str, finish: str | None = None) -> bytes:
        logprobs = {"tokens": [text], "token_logprobs": [-1.0], "text_offset": [3], "top_logprobs": None}
        return event({"choices": [{"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}]})

    stream = chunk("a") + chunk("b", "stop")
    streamed = COMPLETION_STREAM.assemble(stream)
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [-1.0] * 2, "text_offset": [3] * 2, "top_logprobs": None}
    choice = {"index": 0, "text": "ab", "logprobs": logprobs, "finish_reason": "stop"}
    assert streamed.value == {"object": "text_completion", "choices": [choice]}
    assert streamed.finished


def test_deltas_of_a_message_in_a_completions_stream_are_one_message() -> None:
    pieces = [{"role": "assistant", "content": "a"}, {"content": "b"}]
    chunks = [event({"choices": [{"index": 0, "delta": piece, "finish_reason": None}]}) for piece in pieces]
    chunks.append(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    (choice,) = COMPLETION_STREAM.assemble(b"".join(chunks)).value["choices"]
    assert (choice["message"]["content"], choice["finish_reason"], "text" in choice) == ("ab", "stop", False)


# ---------------------------------------------------------------- asking for it


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"a": 1}, {"a": 1, "stream": True, "stream_options": {"include_usage": True}}),
        ({"a": '"stream"'}, {"a": '"stream"', "stream": True, "stream_options": {"include_usage": True}}),
        ({"stream": False}, {"stream": True, "stream_options": {"include_usage": True}}),
        (
            {"stream_options": {"include_usage": False, "x": 1}},
            {"stream": True, "stream_options": {"include_usage": False, "x": 1}},
        ),
        ({"stream_options": {"x": 1}}, {"stream": True, "stream_options": {"include_usage": True, "x": 1}}),
        ({"stream_options": None}, {"stream": True}),
        ({"stream_options": "odd"}, {"stream": True, "stream_options": "odd"}),
    ],
)
def test_a_stream_is_asked_for_with_usage_unless_the_body_says_otherwise(asked: Any, sent: Any) -> None:
    made = CHAT_STREAM.ask(orjson.dumps(asked))
    assert orjson.loads(made) == sent
    assert made.count(b'"stream":') == 1
