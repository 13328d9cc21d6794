"""Owns the static answers: a chat completion of about half a kilobyte, and one with top log probabilities."""

from __future__ import annotations

import json
import math
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_TOKENS = 16
_TOP_LOGPROBS = 5


def write_bodies(folder: Path) -> None:
    """Write `chat.json` and `chat_logprobs.json`; the same bytes each time."""
    text = "The answer is 42. " * 12 + "#### 42"
    _write(folder / "chat.json", _completion(text, None))
    logprobs = {"content": [_entry(number) for number in range(_TOKENS)]}
    _write(folder / "chat_logprobs.json", _completion("".join(_token(number) for number in range(_TOKENS)), logprobs))


def _completion(text: str, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "logprobs": logprobs,
    }
    return {
        "id": "chatcmpl-abc123",
        "object": "chat.completion",
        "created": 1795300000,
        "model": "static",
        "system_fingerprint": "fp_static",
        "choices": [choice],
        "usage": {"prompt_tokens": 42, "completion_tokens": 20, "total_tokens": 62},
    }


def _entry(number: int) -> dict[str, Any]:
    tops = [_scored(number + other, other) for other in range(_TOP_LOGPROBS)]
    return {**_scored(number, 0), "top_logprobs": tops}


def _scored(number: int, rank: int) -> dict[str, Any]:
    token = _token(number)
    spread = random.Random(number).random()  # noqa: S311 - figures of a believable length, the same in each run
    return {"token": token, "logprob": -math.log(2 + rank) - spread, "bytes": list(token.encode())}


def _token(number: int) -> str:
    return f" tok{number}"


def _write(path: Path, body: dict[str, Any]) -> None:
    path.write_text(json.dumps(body, separators=(",", ":")), encoding="utf-8")
