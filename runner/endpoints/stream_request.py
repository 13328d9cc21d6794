"""Owns how a request asks for a stream: members of its body, which no key and no digest covers.

`stream_options: null` leaves that member out, for servers that refuse it.
"""

from __future__ import annotations

import orjson


def ask_for_stream(body: bytes) -> bytes:
    """Return a request's body with streaming asked for."""
    if b'"stream' not in body:
        return body[:-1] + b',"stream":true}'
    value = {**orjson.loads(body), "stream": True}
    if value.get("stream_options", {}) is None:
        del value["stream_options"]
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def ask_for_stream_and_usage(body: bytes) -> bytes:
    """Return a request's body with streaming asked for, and usage in the last chunk unless the body has its own say."""
    if b'"stream' not in body:
        return body[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'
    value = orjson.loads(body)
    options = value.get("stream_options", {})
    if isinstance(options, dict):
        value["stream_options"] = {"include_usage": True, **options}
    return ask_for_stream(orjson.dumps(value))
