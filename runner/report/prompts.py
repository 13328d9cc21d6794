"""Owns what a request's body asks, as messages that people read: who speaks, and what is said. Pure.

Images, sounds and files are named and never shown: nothing in a report is fetched or decoded.
"""

from __future__ import annotations

import json
from typing import Any, Final

from runner.jsontext import loads
from runner.report.shown import text_of

_MOST_MESSAGES: Final = 100
_MOST_PARTS: Final = 50
_MOST_MEDIA: Final = 60
_MOST_PRETTY: Final = 20_000
_WHOLE: Final = "request"


def messages_of(body: bytes, row: int) -> list[tuple[str, str]]:
    """Return roles and texts of what a body asks for its sample number `row`; of an unknown shape all as JSON."""
    try:
        asked, _ = loads(body)
    except (ValueError, RecursionError):
        return [(_WHOLE, body.decode("utf-8", errors="replace"))]
    if not isinstance(asked, dict):
        return [(_WHOLE, text_of(asked))]
    found = _chat(asked) or _continued(asked) or _inputs(asked, row)
    return (found or [(_WHOLE, text_of(asked))])[:_MOST_MESSAGES]


def _chat(asked: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the messages of a chat, and of a response its instructions and input items."""
    messages = asked.get("messages")
    if messages is None and isinstance(asked.get("input"), list) and _are_items(asked["input"]):
        messages = asked["input"]
    if not isinstance(messages, list):
        return []
    first = [("instructions", text_of(asked[key])) for key in ("system", "instructions") if asked.get(key)]
    return first + [_message(one) for one in messages]


def _are_items(inputs: list[Any]) -> bool:
    return bool(inputs) and all(isinstance(one, dict) for one in inputs)


def _message(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict):
        return "message", text_of(message)
    role = text_of(message.get("role") or message.get("type") or "message")
    lines = [_content(message["content"])] if message.get("content") is not None else []
    lines += [f"{key}: {text_of(message[key])}" for key in ("tool_calls", "tool_call_id", "output") if message.get(key)]
    return role, "\n".join(lines) or text_of(message)


def _content(content: Any) -> str:
    if not isinstance(content, list):
        return text_of(content)
    return "\n".join(_part(part) for part in content[:_MOST_PARTS])


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return text_of(part)
    if isinstance(part.get("text"), str):
        return str(part["text"])
    kind = text_of(part.get("type") or "part")
    inside = part.get(kind)
    media = inside.get("url") or inside.get("data") or inside.get("file_data") if isinstance(inside, dict) else inside
    return f"[{kind}: {_media(media)}]" if isinstance(media, str) else text_of(part)


def _media(text: str) -> str:
    """Name what stands in a URL; what is in a data: URL only by its type and length."""
    if text.startswith("data:"):
        return f"{text.partition(',')[0][:_MOST_MEDIA]}, {len(text):,} characters"
    return text if len(text) <= _MOST_MEDIA else f"{text[:_MOST_MEDIA]}… {len(text):,} characters"


def _continued(asked: dict[str, Any]) -> list[tuple[str, str]]:
    """Return context and continuations of a log-likelihood."""
    if "continuations" not in asked:
        return []
    continuations = asked["continuations"]
    listed = continuations if isinstance(continuations, list) else [continuations]
    return [("context", text_of(asked.get("context", "")))] + [("continuation", text_of(one)) for one in listed]


def _inputs(asked: dict[str, Any], row: int) -> list[tuple[str, str]]:
    """Return a prompt or an input; of several in one request the sample's own."""
    for key in ("prompt", "input", "inputs", "texts"):
        if key in asked:
            given = asked[key]
            if isinstance(given, list) and all(isinstance(one, str) for one in given) and row < len(given):
                given = given[row]
            first = [("instructions", text_of(asked["instructions"]))] if asked.get("instructions") else []
            return [*first, (key, text_of(given))]
    return []


def pretty(text: str | None) -> str | None:
    """Return JSON with each value on a line of its own, and any other or very long text as it is."""
    if text is None or len(text) > _MOST_PRETTY:
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
