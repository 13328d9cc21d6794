"""Owns the log probabilities of an answer: deterministic, valid, and sampled as a real model samples.

At each position the ranks follow a geometric distribution, p(rank) = (1 - q) q^rank, which sums to one over all ranks;
the answer's token holds a rank drawn from it. So top lists are sorted, every value is at most 0, no top list sums to
more than one, and a token of a rank beyond the list is given with its own log probability and is not in the list (as
llama.cpp and vLLM do). A greedy request (temperature 0) always holds rank 0.
"""

from __future__ import annotations

import math
from hashlib import shake_256
from typing import Any

from runner.simulate.prompts import TOKEN_CHARACTERS

_BYTES_PER_TOKEN = 4
_LOWEST_Q = 0.05
_SPAN_Q = 0.85
_WORDS = (
    "yes no the a an is was not and or but 0 1 2 3 4 5 6 7 8 9 A B C D E F true false none ok He She It We They in on "
    "at to by as \u2082 \u4e8c deux zwei \u0434\u0430 \u00e9 \u00fc \U0001f642 \uff12 ; : , . ! ? ( ) ' \\ \n"
)
_ALTERNATIVES = tuple((token, list(token.encode())) for token in dict.fromkeys(_WORDS.split(" ")))


def chat_logprobs(text: str, top: int, key: str, *, greedy: bool) -> dict[str, Any]:
    """Return the `logprobs` object of one choice in OpenAI's shape, `top` alternatives at each token of `text`."""
    tokens = [text[start : start + TOKEN_CHARACTERS] for start in range(0, len(text), TOKEN_CHARACTERS)]
    noise = shake_256(key.encode()).digest(_BYTES_PER_TOKEN * len(tokens))
    content = [
        _position(token, top, noise[index * _BYTES_PER_TOKEN : (index + 1) * _BYTES_PER_TOKEN], greedy=greedy)
        for index, token in enumerate(tokens)
    ]
    return {"content": content, "refusal": None}


def _position(token: str, top: int, noise: bytes, *, greedy: bool) -> dict[str, Any]:
    q = _LOWEST_Q + _SPAN_Q * noise[0] / 255
    first, step = math.log1p(-q), math.log(q)
    rank = 0 if greedy else int(math.log((int.from_bytes(noise[1:3]) + 1) / 65537) / step)
    sampled = {"token": token, "logprob": first + rank * step, "bytes": list(token.encode())}
    others = _others(token, noise[3])
    ranked = [
        dict(sampled) if place == rank else {"token": name, "logprob": first + place * step, "bytes": data}
        for place, (name, data) in zip(range(top), others, strict=False)
    ]
    return {**sampled, "top_logprobs": ranked}


def _others(token: str, offset: int) -> list[tuple[str, list[int]]]:
    start = offset % len(_ALTERNATIVES)
    return [other for other in _ALTERNATIVES[start:] + _ALTERNATIVES[:start] if other[0] != token]
