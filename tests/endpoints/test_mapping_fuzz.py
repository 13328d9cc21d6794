from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.config import load_adapter, shipped_adapters
from runner.endpoints.adapter import compile_adapter
from runner.errors import RequestError, ServerError
from runner.pipeline.storing.codec import encode_meta
from runner.pipeline.storing.reading import RowContext
from runner.pipeline.storing.rowgroup import RowGroup
from runner.pipeline.storing.rows import group_columns
from runner.records import Attempt, Case, Record, Request, Response
from runner.sinks import PartWriter, responses_schema, verify_part

BODIES = Path(__file__).parents[1] / "bodies"
NAMES = shipped_adapters()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in paths_of(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = replaced(value[path[0]], path[1:], by)
    return copied


def as_bytes(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        import json  # noqa: PLC0415 - integers beyond 64 bit, lone surrogates

        return json.dumps(value).encode()


def record(body: bytes) -> tuple[bytes, bytes, bytes]:
    case = Case(b"k" * 16, "s", 0, b"d" * 16, 0, None, b"{}")
    request = Request(b"k" * 16, "/x", b"{}", (case,), 2, 1)
    response = Response(200, {}, body, 1.0, 0.5)
    attempt = Attempt(b"k" * 16, 1, 1, 1.0, 0.5, 200, None, None, None)
    made = Record(request, response, None, 1, 1.0, 2.0, 0.0, attempt)
    return encode_meta(made, 1, "s"), b"{}", body


@pytest.mark.parametrize("name", NAMES)
def test_no_body_breaks_a_row_or_the_table(name: str, tmp_path: Path) -> None:
    adapter = compile_adapter(load_adapter(name))
    endpoint = adapter.endpoint(adapter.spec["endpoints"][0])
    golden = orjson.loads((BODIES / f"adapter_{name}.json").read_bytes())
    context = RowContext(endpoint, "m", None, {}, keep_raw=True)
    part = tmp_path / "part.parquet"

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(paths_of(golden)), JSON), min_size=1, max_size=3))
    def check(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        value = golden
        for path, by in changes:
            with contextlib.suppress(KeyError, IndexError, TypeError):  # an earlier change took the place away
                value = replaced(value, path, by)
        body = as_bytes(value)
        problem = endpoint.find_problem(value)
        endpoint.count_tokens(value)
        if endpoint.refine is not None:
            assert isinstance(endpoint.refine(ServerError("x", http_status=500), body), RequestError)
        group = RowGroup()
        group.add_record(*record(body), context)
        columns = group_columns(group, context).responses
        assert len(columns["key"]) >= 2
        if problem is not None:
            assert set(columns["status"]) == {"failed"}
        with PartWriter(part, responses_schema({}, {})) as writer:
            writer.write_columns(columns)
        assert verify_part(part) == len(columns["key"])

    check()


@settings(deadline=None)
@given(JSON)
def test_an_error_body_of_any_shape_keeps_the_error(value: Any) -> None:
    endpoint = compile_adapter(load_adapter("anthropic-messages")).endpoint("chat")
    assert endpoint.refine is not None
    for body in (as_bytes(value), as_bytes({"error": value}), as_bytes({"error": {"type": value, "message": value}})):
        refined = endpoint.refine(ServerError("HTTP 500: x", http_status=500, retry_after_s=2.0), body)
        assert (refined.http_status, refined.retry_after_s) == (500, 2.0)
        assert len(refined.message) <= 300
        assert refined.message.isprintable()
