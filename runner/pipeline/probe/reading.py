"""Owns what the answers of a probe show: texts, choices, streamed events, vectors. Pure, and ready for any answer."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.endpoints import ENDPOINTS, read_usage
from runner.jsontext import loads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.records import Parsed, Response, Usage

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Streamed:
    """What a streamed answer holds: its events that are JSON, its text, and whether a usage was among them."""

    events: int
    text: str
    usage: bool


@dataclass(frozen=True, slots=True)
class Vectors:
    """What an embeddings answer holds: how many vectors, of how many numbers, and whether they came in Base64."""

    count: int
    dimension: int
    base64: bool


def read_value(response: Response) -> Any:
    """Return the JSON value of an answer; null where it is none."""
    try:
        return loads(response.body)[0]
    except ValueError:
        return None


def read_answer(response: Response, endpoint: str, choices: int = 1) -> Parsed | None:
    """Return an answer as an endpoint reads it, with one output at least; null where it cannot be read."""
    try:
        parsed = ENDPOINTS[endpoint].parse(response.body, 1, choices)
        return parsed if parsed.outputs and parsed.outputs[0] else None
    except Exception:  # noqa: BLE001 - whatever a server sends, the probe says what it found
        return None


def text_of(parsed: Parsed | None) -> str:
    """Return the text of the first choice; empty where there is none."""
    return (parsed.outputs[0][0].text or "") if parsed else ""


def count_choices(response: Response) -> int:
    """Return how many choices an answer has."""
    value = read_value(response)
    choices = value.get("choices") if isinstance(value, dict) else None
    return len(choices) if isinstance(choices, list) else 0


def usage_of(response: Response) -> Usage:
    """Return the token counts of an answer."""
    return read_usage(read_value(response), [])


def model_names(response: Response) -> list[str]:
    """Return the names of a model list."""
    value = read_value(response)
    entries = value.get("data") if isinstance(value, dict) else value
    entries = entries if isinstance(entries, list) else []
    return [str(one["id"]) for one in entries if isinstance(one, dict) and isinstance(one.get("id"), str)]


def read_stream(response: Response) -> Streamed | None:
    """Return what server-sent events hold; null for a body that has none."""
    events, texts, usage = 0, [], False
    for line in response.body.splitlines():
        if not line.startswith(b"data:"):
            continue
        try:
            event, _ = loads(line[5:])
        except ValueError:
            continue  # [DONE], a comment
        if not isinstance(event, dict):
            continue
        events += 1
        usage = usage or isinstance(event.get("usage"), dict)
        texts.append(_delta(event.get("choices")))
    return Streamed(events, "".join(texts), usage) if events else None


def read_vectors(response: Response) -> Vectors | None:
    """Return what an embeddings answer holds; null where it holds no vector."""
    value = read_value(response)
    data = value.get("data") if isinstance(value, dict) else None
    entries = [one.get("embedding") for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    if not entries:
        return None
    first = entries[0]
    if isinstance(first, list) and first:
        return Vectors(len(entries), len(first), base64=False)
    if isinstance(first, str):
        try:
            packed = base64.b64decode(first, validate=True)
        except (binascii.Error, ValueError):
            return None
        if packed and len(packed) % _FLOAT_BYTES == 0:
            return Vectors(len(entries), len(packed) // _FLOAT_BYTES, base64=True)
    return None


def stop_for(text: str) -> str | None:
    """Return what to stop a text at: the character it has most often, but for the first; null for too short a text."""
    counts = Counter(character for character in text[1:] if character.isprintable() and character != "\ufffd")
    return counts.most_common(1)[0][0] if counts else None


def limit_headers(headers: Mapping[str, str]) -> list[str]:
    """Return the headers that tell of rate limits, as texts."""
    return [f"{name} {value}" for name, value in sorted(headers.items()) if "ratelimit" in name.replace("-", "")]


def _delta(choices: Any) -> str:
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return ""
    delta = first.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else first.get("text")
    return text if isinstance(text, str) else ""
