"""Owns reading log probabilities, in the shape of chat and in that of completions, into flat lists by position.

Shapes, both of the OpenAI API reference. Chat: `choices[].logprobs.content[]` with `token`, `logprob`, `bytes` and
`top_logprobs[]`; llama.cpp adds an `id` to each entry and answers completions like this too; a sampled token need not
be among its top list. Completions: `tokens`, `token_logprobs`, `top_logprobs` (an object token → value for each token)
and `text_offset`, side by side; with `echo` the first token has no value and no alternatives. Together's servers answer
chat like this too. `text_offset` is not read: servers disagree on where it begins, and the tokens say the same.
"""

from __future__ import annotations

import re
from typing import Any

from runner.jsontext import describe
from runner.records import Logprobs

_MAX_FLOAT32 = 3.4028234663852886e38
_INFINITIES = (float("inf"), float("-inf"))
# How completions write a token that is no text: OpenAI's servers as escaped bytes, vLLM (on demand) as its number.
_ESCAPED = re.compile(r"bytes:(?=.*\\x[0-9a-f]{2})", re.DOTALL)
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_NUMBERED = re.compile(r"token_id:[0-9]+")


def read_logprobs(logprobs: Any, notes: list[str]) -> Logprobs | None:
    """Return the flat lists of either shape, or null where the answer has none; what is odd is noted."""
    if not isinstance(logprobs, dict):
        return None
    if isinstance(logprobs.get("tokens"), list) or isinstance(logprobs.get("token_logprobs"), list):
        return _read_side_by_side(logprobs, notes)
    return read_chat_logprobs(logprobs, notes)


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


def read_prompt_logprobs(entries: list[Any], ids: Any) -> tuple[Logprobs, list[int | None]]:
    """Return the flat lists of a prompt's tokens as vLLM gives them, and the rank of each token (1 is the likeliest).

    Shape: null for the first token, of which nothing is known, then an object token id → `logprob`, `rank`,
    `decoded_token` for each, the prompt's own token first. `ids`, its `prompt_token_ids`, names that one, where given.
    """
    named = ids if isinstance(ids, list) and len(ids) == len(entries) else [None] * len(entries)
    owns, alternatives = [], []
    for entry, number in zip(entries, named, strict=True):
        known = {key: one for key, one in entry.items() if isinstance(one, dict)} if isinstance(entry, dict) else {}
        owns.append(known.get(str(number)) or next(iter(known.values()), {}))
        alternatives.append(list(known.values()))
    tokens = [_decoded(one) for one in owns]
    return Logprobs(
        tokens=tokens,
        token_bytes=[_bytes_of_text(token) if own else None for token, own in zip(tokens, owns, strict=True)],
        token_logprobs=[_float32(one.get("logprob")) for one in owns],
        top_tokens=[[_decoded(top) for top in tops] for tops in alternatives],
        top_logprobs=[[_float32(top.get("logprob")) for top in tops] for tops in alternatives],
    ), [rank if type(rank := one.get("rank")) is int else None for one in owns]


def _decoded(one: dict[str, Any]) -> str:
    return _token({"token": one.get("decoded_token")})


def _read_side_by_side(logprobs: dict[str, Any], notes: list[str]) -> Logprobs:
    values, tops = _list(logprobs.get("token_logprobs")), _list(logprobs.get("top_logprobs"))
    tokens = _list(logprobs.get("tokens")) or [None] * len(values)
    count = len(tokens)
    if len(values) != count or (tops and len(tops) != count):
        notes.append(f"log probabilities of {len(values)} and alternatives of {len(tops)} for {count} tokens")
    alternatives = [_alternatives(top) for top in _exactly(tops, count)]
    texts = [_token({"token": token}) for token in tokens]
    return Logprobs(
        tokens=texts,
        token_bytes=[_bytes_of_text(text) for text in texts],
        token_logprobs=[_float32(value) for value in _exactly(values, count)],
        top_tokens=[[token for token, _ in pairs] for pairs in alternatives],
        top_logprobs=[[_float32(value) for _, value in pairs] for pairs in alternatives],
    )


def _alternatives(top: Any) -> list[tuple[str, Any]]:
    if isinstance(top, dict):
        return list(top.items())
    return [(_token(one), one.get("logprob")) for one in _list(top) if isinstance(one, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _exactly(values: list[Any], count: int) -> list[Any]:
    return (values + [None] * (count - len(values)))[:count]


def _bytes_of_text(token: str) -> bytes | None:
    if _ESCAPED.match(token):
        text = token.removeprefix("bytes:").encode("utf-8", "replace")
        return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), text)
    return None if "\ufffd" in token or _NUMBERED.fullmatch(token) else token.encode("utf-8", "replace")


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
