"""Owns how a request asks for a stream: two members of its body, which no key and no digest covers."""

from __future__ import annotations

import orjson


def stream_body(body: bytes) -> bytes:
    """Return a request's body with streaming asked for, and usage in the last chunk unless the body has its own say.

    `stream_options: null` leaves that member out, for servers that refuse it.
    """
    if b'"stream' not in body:
        return body[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'
    value = orjson.loads(body)
    value["stream"] = True
    options = value.get("stream_options", {})
    if isinstance(options, dict):
        value["stream_options"] = {"include_usage": True, **options}
    elif options is None:
        del value["stream_options"]
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
