"""Owns the static answers: a chat completion of half a kilobyte, one with top log probabilities, and embeddings."""

from __future__ import annotations

import base64
import json
import math
import random
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_TOKENS = 16
_TOP_LOGPROBS = 5
DIMENSIONS = 256
PACKED_INPUTS = 2048


def write_bodies(folder: Path) -> None:
    """Write all of them; the same bytes each time."""
    text = "The answer is 42. " * 12 + "#### 42"
    _write(folder / "chat.json", _completion(text, None))
    logprobs = {"content": [_entry(number) for number in range(_TOKENS)]}
    _write(folder / "chat_logprobs.json", _completion("".join(_token(number) for number in range(_TOKENS)), logprobs))
    _write(folder / "embedding.json", _embeddings(1))
    _write(folder / "embeddings.json", _embeddings(PACKED_INPUTS))


def _embeddings(count: int) -> dict[str, Any]:
    chance = random.Random(count)  # noqa: S311 - figures that compress as badly as real ones, the same in each run
    vectors = ([chance.gauss(0, 1 / math.sqrt(DIMENSIONS)) for _ in range(DIMENSIONS)] for _ in range(count))
    texts = (base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *vector)).decode() for vector in vectors)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": text} for index, text in enumerate(texts)],
        "model": "static",
        "usage": {"prompt_tokens": 70 * count, "total_tokens": 70 * count},
    }


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
