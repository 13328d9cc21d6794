"""No body crashes a parser, and every accepted one gives its rows, whatever the endpoint."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS, find_omission
from runner.errors import TemplateError
from runner.pipeline.storing.codec import encode_meta
from runner.pipeline.storing.reading import RowContext
from runner.pipeline.storing.rowgroup import RowGroup
from runner.pipeline.storing.rows import group_columns
from runner.records import Attempt, Case, Record, Request, Response
from runner.sinks import PartWriter, responses_schema, verify_part
from tests.endpoints.test_chat_fuzz import _CHOICE, COLUMNS, JSON, as_bytes, nested

if TYPE_CHECKING:
    from runner.pipeline.storing.rows import Columns

NAMES = ["completions", "responses"]
_SIDE_BY_SIDE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["tokens", "token_logprobs", "top_logprobs", "text_offset", "content"],
        st.lists(JSON | st.floats() | st.text(max_size=3), max_size=4) | JSON,
    ),
)
_COMPLETION_CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(-1, 7) | JSON,
        "text": st.text(max_size=4) | JSON,
        "finish_reason": st.sampled_from(["stop", "length", "sto"]) | JSON,
        "stop_reason": JSON,
        "error": JSON,
        "logprobs": _SIDE_BY_SIDE | JSON,
    },
)
_PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["output_text", "refusal", "text"]) | JSON},
    optional=dict.fromkeys(["text", "refusal"], st.text(max_size=4) | JSON)
    | {"logprobs": st.lists(JSON, max_size=3) | JSON},
)
_ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call"]) | JSON},
    optional={"content": st.lists(_PART | JSON, max_size=3) | JSON}
    | dict.fromkeys(["summary", "call_id", "id", "name", "arguments", "input"], JSON),
)
_USAGE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["prompt_tokens", "input_tokens", "output_tokens", "total_tokens", "input_tokens_details"], st.integers() | JSON
    ),
)
_TOP = {"usage": _USAGE | JSON, **dict.fromkeys(["id", "created", "created_at", "model", "service_tier"], JSON)}
ANSWERS = {
    "completions": st.fixed_dictionaries(
        {"choices": st.lists(_COMPLETION_CHOICE | _CHOICE | JSON, max_size=6) | JSON}, optional=_TOP
    ),
    "responses": st.fixed_dictionaries(
        {"output": st.lists(_ITEM | JSON, max_size=4) | JSON},
        optional={
            "status": st.sampled_from(["completed", "incomplete", "failed", "queued"]) | JSON,
            "incomplete_details": st.fixed_dictionaries({"reason": JSON}) | JSON,
            **_TOP,
        },
    ),
}
ANY = st.one_of(*ANSWERS.values()) | JSON
COUNTS = st.integers(1, 4)
DEEP = [
    nested('{"choices":[{"text":"x","error":%s}]}'),
    nested('{"choices":[{"text":"x","logprobs":{"tokens":%s,"token_logprobs":[1]}}]}'),
    nested('{"choices":[{"text":"x","logprobs":{"tokens":["a"],"top_logprobs":[{"a":%s}]}}]}'),
    nested('{"output":[{"type":"function_call","arguments":%s}]}'),
    nested('{"output":[{"type":"message","content":%s}]}'),
    nested('{"output":[null],"usage":{"input_tokens":%s}}'),
]


def cases_of(count: int) -> tuple[Case, ...]:
    return tuple(Case(bytes([n]) * 16, f"s{n}", 0, bytes([n]) * 16, 0, "t", b'{"a":1}') for n in range(count))


def request_of(cases: int, choices: int, body: bytes = b"{}") -> Request:
    return Request(bytes(16), "/completions", body, cases_of(cases), choices, 0)


def rows_of(name: str, bodies: list[bytes], cases: int, choices: int) -> Columns:
    context = RowContext(ENDPOINTS[name], "m", None, COLUMNS, keep_raw=True)
    group = RowGroup()
    for body in bodies:
        request = request_of(cases, choices, b"{}")
        attempt = Attempt(request.key, 1, cases, 0.0, 0.1, 200, None, None, None)
        record = Record(request, Response(200, {}, body, 0.0, 0.1), None, 1, 0.0, 1.0, 0.0, attempt)
        group.add_record(encode_meta(record, 1, "server"), request.body, body, context)
    made = group_columns(group, context).responses
    assert {len(column) for column in made.values()} == {cases * choices * len(bodies)}
    assert len(set(zip(made["key"], made["choice"], strict=True))) == cases * choices
    return made


@pytest.mark.parametrize("name", NAMES)
@given(value=ANY, cases=COUNTS, choices=COUNTS)
def test_any_json_gives_exactly_its_outputs_or_a_value_error(name: str, value: Any, cases: int, choices: int) -> None:
    with contextlib.suppress(ValueError):
        parsed = ENDPOINTS[name].parse(as_bytes(value), cases, choices)
        assert [[output.choice for output in outputs] for outputs in parsed.outputs] == [list(range(choices))] * cases


@pytest.mark.parametrize("name", NAMES)
@given(body=st.binary())
@example(body=b"[" * 100_000)
@example(body=b'{"choices":[{"index":' + b"9" * 5000 + b"}]}")
def test_any_bytes_are_an_answer_or_a_value_error(name: str, body: bytes) -> None:
    with contextlib.suppress(ValueError):
        ENDPOINTS[name].parse(body, 2, 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", DEEP)
def test_deep_nesting_gives_its_rows(name: str, body: bytes) -> None:
    with contextlib.suppress(ValueError):
        ENDPOINTS[name].parse(body, 1, 1)
    rows_of(name, [body], 2, 1)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(ANY.map(as_bytes), min_size=1, max_size=4), cases=COUNTS, choices=COUNTS)
def test_rows_of_any_response_fit_the_schema(
    tmp_path_factory: pytest.TempPathFactory, name: str, bodies: list[bytes], cases: int, choices: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzzed_{name}.parquet"
    columns = rows_of(name, bodies, cases, choices)
    with PartWriter(path, responses_schema(COLUMNS, {})) as writer:
        writer.write_columns(columns)
    assert verify_part(path) == len(columns["key"])


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
@given(asked=JSON, answer=ANY)
def test_looking_for_omissions_never_fails(name: str, asked: Any, answer: Any) -> None:
    body = as_bytes({"logprobs": asked, "include": asked, "prompt": asked})
    find_omission(ENDPOINTS[name], request_of(1, 1, body), as_bytes(answer))


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
@given(content=JSON, params=st.dictionaries(st.sampled_from(["n", "best_of", "max_tokens", "max_output_tokens"]), JSON))
def test_any_rendered_body_can_be_counted(name: str, content: Any, params: dict[str, Any]) -> None:
    endpoint = ENDPOINTS[name]
    body = endpoint.compose(dict.fromkeys(endpoint.contents, content) or content, params)
    try:
        body = endpoint.finish(body) if endpoint.finish else body
    except TemplateError:
        assert endpoint.refuses_rows
        return
    assert endpoint.choices_wanted(body) >= 1
    assert isinstance(endpoint.reserve_tokens(body, 100), int)
