"""Owns reading log probabilities: the chat shape (`logprobs.content[…]`) into flat lists by position.

Shape: OpenAI API reference, chat completion object, `choices[].logprobs.content[]` with `token`, `logprob`, `bytes` and
`top_logprobs[]`. llama.cpp adds an `id` to each entry; a sampled token need not be among its top list.
"""

from __future__ import annotations

from typing import Any

from runner.jsontext import describe
from runner.records import Logprobs

_MAX_FLOAT32 = 3.4028234663852886e38
_INFINITIES = (float("inf"), float("-inf"))


def read_chat_logprobs(logprobs: Any, notes: list[str]) -> Logprobs | None:
    """Return the flat lists, or null where the answer has none; entries that are no objects are left out, noted."""
    if not isinstance(logprobs, dict):
        return None
    entries = logprobs.get("content")
    if not isinstance(entries, list):
        entries = logprobs.get("refusal")  # a refusal's tokens stand under its own name
    if not isinstance(entries, list):
        return None
    sound = [entry for entry in entries if isinstance(entry, dict)]
    if len(sound) < len(entries):
        notes.append(f"{len(entries) - len(sound)} log probability entries are not objects")
    tops = [_tops(entry) for entry in sound]
    return Logprobs(
        tokens=[_token(entry) for entry in sound],
        token_bytes=[_bytes(entry) for entry in sound],
        token_logprobs=[_float32(entry.get("logprob")) for entry in sound],
        top_tokens=[[_token(top) for top in top_list] for top_list in tops],
        top_logprobs=[[_float32(top.get("logprob")) for top in top_list] for top_list in tops],
    )


def _tops(entry: dict[str, Any]) -> list[dict[str, Any]]:
    tops = entry.get("top_logprobs")
    return [top for top in tops if isinstance(top, dict)] if isinstance(tops, list) else []


def _token(entry: dict[str, Any]) -> str:
    token = entry.get("token")
    return token if isinstance(token, str) else ("" if token is None else describe(token, 1000))


def _bytes(entry: dict[str, Any]) -> bytes | None:
    value = entry.get("bytes")
    if isinstance(value, list):
        try:
            return bytes(value)
        except (TypeError, ValueError):
            return None
    token = entry.get("token")
    # Without bytes the token's own text stands for them, unless it shows only a piece of a character.
    return token.encode("utf-8", "replace") if isinstance(token, str) and "\ufffd" not in token else None


def _float32(value: Any) -> float | None:
    if type(value) is not float and type(value) is not int:
        return None
    if value != value or (abs(value) > _MAX_FLOAT32 and value not in _INFINITIES):  # noqa: PLR0124 - NaN is no equal
        return None
    return float(value)
