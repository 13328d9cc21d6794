"""Owns reading token counts: the `usage` object of OpenAI-shaped answers, as loosely as servers write it."""

from __future__ import annotations

from typing import Any

from runner.jsontext import dumps
from runner.records import Usage

_MAX_INT64 = 2**63 - 1
_NO_USAGE = Usage()
_CHAT = ("prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details")
_RESPONSES = ("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")


def count_tokens(body: Any) -> Usage:
    """Return the token counts of an answer and nothing else; never raises."""
    usage = body.get("usage") if isinstance(body, dict) else None
    return _read_counts(usage, [], None) if isinstance(usage, dict) else _NO_USAGE


def read_usage(body: Any, notes: list[str]) -> Usage:
    """Return the usage of an answer; what is missing is null, what is no count is null with a note.

    Field names are those of the OpenAI API reference: the chat completion object's `usage`, or the response object's.
    """
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        if usage is not None:
            notes.append("usage is not an object")
        return _NO_USAGE
    return _read_counts(usage, notes, dumps(usage))


def _read_counts(usage: dict[str, Any], notes: list[str], raw: str | None) -> Usage:
    names = _CHAT if "prompt_tokens" in usage or "input_tokens" not in usage else _RESPONSES
    prompt: Any
    completion: Any
    prompt, completion, prompt_details, completion_details = map(usage.get, names)
    total: Any = usage.get("total_tokens")
    sound = type(prompt) is type(completion) is type(total) is int
    if not sound or prompt < 0 or completion < 0 or not prompt <= total <= _MAX_INT64 or completion > total:
        prompt, completion, total = (_count(usage, name, notes) for name in (*names[:2], "total_tokens"))
        if "total_tokens" not in usage and prompt is not None and completion is not None:
            total = prompt + completion
    return Usage(
        prompt,
        completion,
        total,
        _count(prompt_details, "cached_tokens", notes),
        _count(completion_details, "reasoning_tokens", notes),
        raw,
    )


def as_count(value: Any, name: str, notes: list[str]) -> int | None:
    """Return a count of tokens; null for what is none, with a note."""
    if value is None:
        return None
    if type(value) is int and 0 <= value <= _MAX_INT64:
        return value
    if isinstance(value, float) and value.is_integer() and 0 <= value <= 2**53:
        return int(value)
    notes.append(f"usage.{name} is not a count")
    return None


def _count(holder: Any, name: str, notes: list[str]) -> int | None:
    return as_count(holder.get(name), name, notes) if isinstance(holder, dict) else None
