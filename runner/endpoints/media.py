"""Owns what base64 in a request body (pictures, sound, documents) counts for: tokens are not four bytes there. Pure."""

from __future__ import annotations

import re
from typing import Any

# Between 85 for a small picture and some thousands for a large one, a minute of sound or a few pages.
_ATTACHMENT_TOKENS = 1000
_BYTES_PER_TOKEN = 4
_COUNTED_BYTES = _ATTACHMENT_TOKENS * _BYTES_PER_TOKEN
# In a smaller body nothing can weigh much more than it counts for; nearly all bodies are smaller.
_SMALL_BYTES = 2 * _COUNTED_BYTES
# What comes before base64 in JSON with sorted keys: a data URL, or the sound of an `input_audio` part.
_MARK = re.compile(rb';base64,|"input_audio":\{"data":"')
_SHOWN = 40
_LONG = re.compile(r"[A-Za-z0-9+/=_-]{400,}")


def prompt_bytes(body: bytes) -> int:
    """Return how many bytes of text a body is worth, four of them a token: base64 counts as 1,000 tokens at most."""
    size = len(body)
    if size <= _SMALL_BYTES:
        return size
    found = _MARK.search(body)
    while found is not None:
        end = body.find(b'"', found.end())
        if end < 0:
            break
        size -= max(0, end - found.end() - _COUNTED_BYTES)
        found = _MARK.search(body, end)
    return size


def shortened(value: Any) -> Any:
    """Return a JSON value to show, long base64 cut to its beginning and its length."""
    if isinstance(value, str):
        return _LONG.sub(lambda found: f"{found[0][:_SHOWN]}… ({len(found[0]):,} characters)", value)
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return value
