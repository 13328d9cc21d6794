"""Owns the Arrow schemas of the tables: explicit and versioned, the same for an empty, a failed and a mixed run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA_VERSION = "1"

_TIME = pa.timestamp("us", tz="UTC")
_RETRIEVED = pa.list_(
    pa.struct([("rank", pa.int32()), ("id", pa.string()), ("score", pa.float64()), ("text", pa.string())])
)
_USAGE = [
    ("prompt_tokens", pa.int64()),
    ("completion_tokens", pa.int64()),
    ("total_tokens", pa.int64()),
    ("cached_tokens", pa.int64()),
    ("reasoning_tokens", pa.int64()),
    ("usage_json", pa.string()),
    ("cost_usd", pa.float64()),
    ("usage_exact", pa.bool_()),
]
_RESPONSES = [
    ("key", pa.string()),
    ("sample_id", pa.string()),
    ("repeat", pa.int32()),
    ("choice", pa.int32()),
    ("request_key", pa.string()),
    ("request_row", pa.int32()),
    ("status", pa.string()),
    ("error_kind", pa.string()),
    ("error_message", pa.string()),
    ("http_status", pa.int16()),
    ("parse_note", pa.string()),
    ("text", pa.string()),
    ("reasoning", pa.string()),
    ("refusal", pa.string()),
    ("tool_calls", pa.string()),
    ("finish_reason", pa.string()),
    ("audio_transcript", pa.string()),
    ("tokens", pa.list_(pa.string())),
    ("token_bytes", pa.list_(pa.binary())),
    ("token_logprobs", pa.list_(pa.float32())),
    ("top_tokens", pa.list_(pa.list_(pa.string()))),
    ("top_logprobs", pa.list_(pa.list_(pa.float32()))),
    ("continuation", pa.string()),
    ("loglikelihood", pa.float64()),
    ("is_greedy", pa.bool_()),
    ("boundary_inexact", pa.bool_()),
    ("embedding", pa.list_(pa.float32())),
    ("retrieved", _RETRIEVED),
    *_USAGE,
    ("created", _TIME),
    ("started_at", _TIME),
    ("finished_at", _TIME),
    ("queued_s", pa.float64()),
    ("latency_s", pa.float64()),
    ("first_token_s", pa.float64()),
    ("attempts", pa.int32()),
    ("endpoint", pa.string()),
    ("model", pa.string()),
    ("served_model", pa.string()),
    ("server", pa.string()),
    ("response_id", pa.string()),
    ("request_id", pa.string()),
    ("system_fingerprint", pa.string()),
    ("service_tier", pa.string()),
    ("target", pa.string()),
]
_ATTEMPTS = [
    ("request_key", pa.string()),
    ("attempt", pa.int32()),
    ("session", pa.int32()),
    ("n_samples", pa.int32()),
    ("started_at", _TIME),
    ("latency_s", pa.float64()),
    ("http_status", pa.int16()),
    ("error_kind", pa.string()),
    ("retry_after_s", pa.float64()),
    ("server", pa.string()),
    ("request_id", pa.string()),
    *_USAGE,
]
# `meta` is the journal's own description of the request (cases, times, headers): with it a part of `responses` can be
# made again from `raw` alone.
_RAW = [
    ("request_key", pa.string()),
    ("http_status", pa.int16()),
    ("request", pa.large_binary()),
    ("response", pa.large_binary()),
    ("meta", pa.large_binary()),
]
_KINDS = {
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "json": pa.string(),
    "date": pa.date32(),
    "timestamp[us]": pa.timestamp("us"),
    "timestamp[us, UTC]": _TIME,
}


def arrow_type(kind: str) -> pa.DataType:
    """Return the Arrow type of a dataset column's kind."""
    return _KINDS[kind]


def responses_schema(columns: Mapping[str, str], metadata: Mapping[str, str]) -> pa.Schema:
    """Return the schema of `responses`: the fixed columns, then `in_<column>` for each kept dataset column."""
    kept = [(f"in_{name}", arrow_type(kind)) for name, kind in columns.items()]
    return _schema([*_RESPONSES, *kept], metadata, not_null={"key", "status"})


def attempts_schema(metadata: Mapping[str, str]) -> pa.Schema:
    """Return the schema of `attempts`: one row an HTTP attempt."""
    return _schema(_ATTEMPTS, metadata, not_null={"request_key"})


def raw_schema(metadata: Mapping[str, str]) -> pa.Schema:
    """Return the schema of `raw`: one row an HTTP request, bodies as they went over the wire."""
    return _schema(_RAW, metadata, not_null={"request_key"})


def scores_schema(names: Sequence[str], metadata: Mapping[str, str]) -> pa.Schema:
    """Return the schema of a scoring: `key` and `choice` as in `responses`, then a value and a note for each score."""
    fields = [("key", pa.string()), ("choice", pa.int32())]
    for name in names:
        fields += [(f"score_{name}", pa.float64()), (f"{name}_note", pa.string())]
    return _schema(fields, metadata, not_null={"key"})


def table_schema(table: str, columns: Mapping[str, str], metadata: Mapping[str, str]) -> pa.Schema:
    """Return the schema of one table by its name."""
    if table == "attempts":
        return attempts_schema(metadata)
    return raw_schema(metadata) if table == "raw" else responses_schema(columns, metadata)


def _schema(fields: list[tuple[str, pa.DataType]], metadata: Mapping[str, str], not_null: set[str]) -> pa.Schema:
    described = {f"evalrunner.{key}": value for key, value in {"schema_version": SCHEMA_VERSION, **metadata}.items()}
    return pa.schema([pa.field(name, kind, nullable=name not in not_null) for name, kind in fields], metadata=described)
