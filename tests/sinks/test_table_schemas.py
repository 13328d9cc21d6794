from __future__ import annotations

import pyarrow as pa
import pytest

from runner.sinks import SCHEMA_VERSION, arrow_type, attempts_schema, raw_schema, responses_schema, table_schema

TIME = pa.timestamp("us", tz="UTC")
CONTRACT = {
    pa.string(): (
        "key sample_id request_key status error_kind error_message parse_note text reasoning refusal tool_calls "
        "finish_reason audio_transcript continuation usage_json endpoint model served_model server response_id "
        "request_id system_fingerprint service_tier target"
    ),
    pa.int32(): "repeat choice request_row attempts",
    pa.int16(): "http_status",
    pa.int64(): "prompt_tokens completion_tokens total_tokens cached_tokens reasoning_tokens",
    pa.float64(): "loglikelihood cost_usd queued_s latency_s first_token_s",
    pa.bool_(): "is_greedy boundary_inexact usage_exact",
    TIME: "created started_at finished_at",
    pa.list_(pa.string()): "tokens",
    pa.list_(pa.binary()): "token_bytes",
    pa.list_(pa.float32()): "token_logprobs embedding",
    pa.list_(pa.list_(pa.string())): "top_tokens",
    pa.list_(pa.list_(pa.float32())): "top_logprobs",
    pa.list_(
        pa.struct([("rank", pa.int32()), ("id", pa.string()), ("score", pa.float64()), ("text", pa.string())])
    ): "retrieved",
}


def test_responses_has_the_columns_of_the_contract_and_no_other() -> None:
    schema = responses_schema({}, {})
    expected = {name: kind for kind, names in CONTRACT.items() for name in names.split()}
    assert {field.name: field.type for field in schema} == expected
    assert {field.name for field in schema if not field.nullable} == {"key", "status"}


def test_dataset_columns_come_last_in_their_order_with_their_types() -> None:
    kinds = {
        "z": "int64",
        "a": "double",
        "m": "bool",
        "s": "string",
        "j": "json",
        "d": "date",
        "t": "timestamp[us]",
        "u": "timestamp[us, UTC]",
    }
    schema = responses_schema(kinds, {})
    types = [pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.string(), pa.date32(), pa.timestamp("us"), TIME]
    assert schema.names[-9:] == ["target", *(f"in_{name}" for name in kinds)]
    assert schema.types[-8:] == types
    assert [arrow_type(kind) for kind in kinds.values()] == types


@pytest.mark.parametrize("table", ["responses", "attempts", "raw", "superseded"])
def test_every_table_names_its_schema_version_and_run(table: str) -> None:
    metadata = table_schema(table, {}, {"run_id": "r", "config_digest": "d"}).metadata
    assert metadata == {
        b"evalrunner.schema_version": SCHEMA_VERSION.encode(),
        b"evalrunner.run_id": b"r",
        b"evalrunner.config_digest": b"d",
    }


def test_the_other_tables_have_their_columns() -> None:
    usage = (
        "prompt_tokens completion_tokens total_tokens cached_tokens reasoning_tokens usage_json cost_usd usage_exact"
    )
    times = "attempt session n_samples started_at latency_s"
    attempts = f"request_key {times} http_status error_kind retry_after_s server request_id"
    assert attempts_schema({}).names == [*attempts.split(), *usage.split()]
    assert raw_schema({}).names[:4] == ["request_key", "http_status", "request", "response"]
    assert {raw_schema({}).field(name).type for name in ("request", "response")} == {pa.large_binary()}
    assert table_schema("superseded", {"x": "bool"}, {}) == responses_schema({"x": "bool"}, {})
