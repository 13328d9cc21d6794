from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS
from runner.endpoints.chat import parse
from runner.folder.index import ENTRY
from runner.pipeline.storing.codec import encode_meta
from runner.pipeline.storing.reading import RowContext
from runner.pipeline.storing.rowgroup import RowGroup
from runner.pipeline.storing.rows import group_columns
from runner.records import Attempt, Case, Record, Request, Response
from runner.sinks import PartWriter, responses_schema, verify_part

if TYPE_CHECKING:
    from runner.pipeline.storing.rows import Columns

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
_MESSAGE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["content", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call", "audio"], JSON
    ),
)
_ENTRY = st.fixed_dictionaries({}, optional=dict.fromkeys(["token", "logprob", "bytes", "top_logprobs"], JSON))
_CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(-2, 5) | JSON,
        "message": _MESSAGE | JSON,
        "finish_reason": st.sampled_from(["stop", "length", "sto"]) | JSON,
        "error": JSON,
        "logprobs": st.fixed_dictionaries({"content": st.lists(_ENTRY | JSON, max_size=3)}) | JSON,
    },
)
_USAGE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"],
        st.integers() | JSON,
    ),
)
ANSWERS = st.fixed_dictionaries(
    {"choices": st.lists(_CHOICE | JSON, max_size=4) | JSON},
    optional={"usage": _USAGE | JSON, **dict.fromkeys(["id", "created", "model", "service_tier"], JSON)},
)
COLUMNS = {"a": "int64"}
CONTEXT = RowContext(ENDPOINTS["chat"], "m", None, COLUMNS, keep_raw=True)


def as_bytes(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        import json  # noqa: PLC0415 - integers beyond 64 bit, lone surrogates

        return json.dumps(value).encode()


def nested(place: str) -> bytes:
    return (place % (b"[" * 1000 + b"]" * 1000).decode()).encode()


DEEP = [
    nested('{"choices":[{"message":{"content":"x","tool_calls":%s}}]}'),
    nested('{"choices":[{"message":{"content":"x"},"error":%s}]}'),
    nested('{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":%s}}'),
    nested('{"choices":[{"message":{},"logprobs":{"content":[{"token":%s}]}}]}'),
]


def journaled(body: bytes, choices: int = 2) -> tuple[bytes, bytes, bytes]:
    key = bytes(16)
    case = Case(key, "s", 0, bytes(16), 0, "t", b'{"a":1}')
    request = Request(key, "/chat/completions", b"{}", (case,), choices, 0)
    attempt = Attempt(key, 1, 1, 0.0, 0.1, 200, None, None, None)
    record = Record(request, Response(200, {}, body, 0.0, 0.1), None, 1, 0.0, 1.0, 0.0, attempt)
    return encode_meta(record, 1, "server"), request.body, body


def rows_of(*bodies: bytes) -> Columns:
    group = RowGroup()
    for body in bodies:
        group.add_record(*journaled(body), CONTEXT)
    made = group_columns(group, CONTEXT)
    assert len(made.responses["key"]) >= 2 * len(bodies)
    assert {len(column) for column in made.responses.values()} == {len(made.responses["key"])}
    assert len(made.attempts["attempt"]) == len(bodies)
    assert len(made.index) == len(bodies) * ENTRY.itemsize
    assert made.raw["response"] == [body or None for body in bodies]
    return made.responses


@given(JSON | ANSWERS)
def test_any_json_is_an_answer_or_a_value_error(value: Any) -> None:
    with contextlib.suppress(ValueError):
        parsed = parse(as_bytes(value), 1, 1)
        assert len(parsed.outputs) == 1
        assert [output.choice for output in parsed.outputs[0]] == list(range(len(parsed.outputs[0])))


@given(st.binary())
@example(b"\xef\xbb\xbf")
@example(b"[" * 100_000)
@example(b'{"choices":[{"index":' + b"9" * 5000 + b"}]}")
def test_any_bytes_are_an_answer_or_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse(body, 1, 1)


@pytest.mark.parametrize("body", DEEP, ids=["tool_calls", "error", "usage", "token"])
def test_deep_nesting_is_an_answer_or_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse(body, 1, 1)


@given(st.binary() | (JSON | ANSWERS).map(as_bytes))
def test_any_response_gives_its_rows(body: bytes) -> None:
    rows_of(body)


@pytest.mark.parametrize("body", DEEP, ids=["tool_calls", "error", "usage", "token"])
def test_deep_nesting_gives_its_rows(body: bytes) -> None:
    rows_of(body)


@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(ANSWERS.map(as_bytes), min_size=1, max_size=5))
def test_rows_of_any_response_fit_the_schema(tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.parquet"
    columns = rows_of(*bodies)
    with PartWriter(path, responses_schema(COLUMNS, {})) as writer:
        writer.write_columns(columns)
    assert verify_part(path) == len(columns["key"])
