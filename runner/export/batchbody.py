"""Owns the body of one line of a Batch: of an answer that others share, the part that is this request's own."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from runner.endpoints import ENDPOINTS
from runner.jsontext import loads
from runner.sinks import RAW_ROW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.sinks import Bodies

# The place in raw's meta of how many choices a request asked for: a number, or a list of it, the first, and all.
_CHOICES = 2
_LISTS = ("choices", "data")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def own_body(rows: list[dict[str, Any]], bodies: Bodies, *, floats: bool) -> dict[str, Any] | None:
    """Return the body of the rows of one case; null where it is no JSON object.

    A stream is put together into the object that the same answer has without. Of a request that several samples shared,
    or whose choices were replaced in part, the rows' own choices or vectors are left, numbered as the rows are, with
    the rows' usage. Vectors come as numbers if `floats`: base64 is what we asked for, not the user.
    """
    first = rows[0]
    try:
        value = _value(bodies.response(first[RAW_ROW]), first["endpoint"])
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    for name in _LISTS:
        entries = value.get(name)
        if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
            own = list(_own_entries(entries, rows, bodies.meta(first[RAW_ROW])))
            if own and len(own) < len(entries):
                value = {**value, name: own, "usage": _usage(rows)}
    if floats and first["endpoint"] == "embeddings" and isinstance(value.get("data"), list):
        value["data"] = [_with_numbers(entry) for entry in value["data"]]
    return value


def _value(body: bytes, endpoint: str) -> Any:
    stream = ENDPOINTS[endpoint].stream if endpoint in ENDPOINTS else None
    return (loads(body) if stream is None else stream.read(body))[0]


def _own_entries(entries: list[Any], rows: list[dict[str, Any]], meta: bytes) -> Iterator[dict[str, Any]]:
    """Yield the entries of a shared answer that are the rows' own, in their order."""
    asked = orjson.loads(meta)[_CHOICES]
    width, first = (asked, 0) if isinstance(asked, int) else asked[:2]
    by_index = {entry.get("index", place): entry for place, entry in enumerate(entries)}
    for row in rows:
        entry = by_index.get(row["request_row"] * width + row["choice"] - first)
        if entry is not None:
            yield {**entry, "index": row["choice"]}


def _usage(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return what the rows used: of several choices the first one carries it."""
    counts = {name: [row[name] for row in rows if row[name] is not None] for name in _COUNTS}
    return {name: sum(values) for name, values in counts.items() if values}


def _with_numbers(entry: Any) -> Any:
    vector = entry.get("embedding") if isinstance(entry, dict) else None
    if not isinstance(vector, str):
        return entry
    try:
        return {**entry, "embedding": np.frombuffer(base64.b64decode(vector, validate=True), "<f4")}
    except (ValueError, binascii.Error):
        return entry
