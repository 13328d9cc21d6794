"""Owns what the simulator sees of a content part that is no text: its kind, media type, size and digest, as a text.

An answer that echoes its prompt shows it, so that a client can tell what arrived.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from hashlib import sha256
from typing import Any

import orjson

# Where the content of a part stands, in the part itself or in the object named after its type.
_CONTENTS = ("url", "image_url", "data", "file_data", "file_url", "file_id")
_DIGITS = 12


def part_text(part: Any) -> str:
    """Return the text of a part; of any other part `[image_url image/png 68 bytes 0123456789ab]` or the like."""
    if not isinstance(part, dict):
        return ""
    text = part.get("text")
    return text if isinstance(text, str) else f"[{part.get('type')} {_seen(part)}]"


def _seen(part: dict[str, Any]) -> str:
    inner = part.get(part["type"]) if isinstance(part.get("type"), str) else None
    if isinstance(inner, str):
        return _content(inner)
    holder = inner if isinstance(inner, dict) else part
    for name in _CONTENTS:
        content = holder.get(name)
        if isinstance(content, str):
            kind = holder.get("format")
            return _content(f"data:{kind};base64,{content}" if name == "data" else content)
    return _measured(orjson.dumps(part, option=orjson.OPT_SORT_KEYS))


def _content(content: str) -> str:
    """Return a URL or a name as it is; of a data URL its media type, and its bytes measured."""
    head, comma, encoded = content.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return content
    media_type = head.removeprefix("data:").removesuffix(";base64")
    try:
        return f"{media_type} {_measured(b64decode(encoded, validate=True))}"
    except (binascii.Error, ValueError):
        return f"{media_type} broken base64"


def _measured(content: bytes) -> str:
    return f"{len(content)} bytes {sha256(content).hexdigest()[:_DIGITS]}"
