"""Owns answers: a valid chat request becomes the body of a chat completion, the same text for the same request.

The text depends on the digest (messages and seed), the server's seed and the choice's index, and on nothing else: not
on the time, the order of arrival, the model or the temperature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import sha256, shake_256
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from runner.simulate.chance import uniform
from runner.simulate.logprobs import chat_logprobs
from runner.simulate.prompts import TOKEN_CHARACTERS, count_tokens

if TYPE_CHECKING:
    from runner.simulate.forms import Asked
    from runner.simulate.prompts import ChatRequest

# At least three characters each: N words and the spaces between them are N tokens but for the last character.
_WORD_LIST = (
    "one two three four five answer question because therefore however model prompt token value result maybe certainly "
    "between above below water light stone river garden number letter morning evening winter summer quickly slowly "
    "never always often seldom north south east west seven eight nine twelve forty hundred thousand million "
    "na\u00efve fa\u00e7ade \u6771\u4eac\u90fd \u0441\u043b\u043e\u0432\u043e \U0001f642\U0001f642\U0001f642 "
    '"quoted" line\nbreak tab\tstop back\\slash <b>bold</b> &amp; 50% {x}= [1]: #### (c)'
)
_WORDS = tuple(_WORD_LIST.split(" "))
_NORMAL = NormalDist()
_CACHE_FROM_TOKENS = 1024
_CACHE_STEP_TOKENS = 128


@dataclass(frozen=True, slots=True)
class AnswerStyle:
    """How answers read. Lengths are in tokens.

    `echo` answers with the last user message. Otherwise the length is `completion_tokens` where that is given, else it
    is drawn from a lognormal distribution with `median_tokens` and `sigma`. A request's own maximum cuts either.
    """

    echo: bool = False
    completion_tokens: int | None = None
    median_tokens: float = 40.0
    sigma: float = 0.6


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a server adds to a request: its own seed, the arrival number, and the time (seconds since the epoch)."""

    seed: int
    number: int
    created: int


def build_answer(request: ChatRequest, style: AnswerStyle, stamp: Stamp) -> dict[str, Any]:
    """Return the body of a chat completion in OpenAI's shape, ready for JSON."""
    choices = [_choice(request, style, f"{stamp.seed}:{request.digest}:{index}", index) for index in range(request.n)]
    completion_tokens = sum(count_tokens(choice["message"]["content"]) for choice in choices)
    return {
        "id": f"chatcmpl-{request.digest[:20]}{stamp.number:09d}",
        "object": "chat.completion",
        "created": stamp.created,
        "model": request.model,
        "choices": choices,
        "usage": _usage(request, stamp.seed, completion_tokens),
        "service_tier": "default",
        "system_fingerprint": f"fp_{sha256(b'%d' % stamp.seed).hexdigest()[:10]}",
    }


def build_joint_answer(asked: Asked, style: AnswerStyle, stamp: Stamp) -> dict[str, Any]:
    """Return the answer to all prompts of a request: their choices one after the other, their tokens summed."""
    answer = build_answer(asked.parts[0], style, stamp)
    usage, choices = answer["usage"], answer["choices"]
    for part in asked.parts[1:]:
        other = build_answer(part, style, stamp)
        choices += [{**choice, "index": len(choices) + choice["index"]} for choice in other["choices"]]
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            usage[name] += other["usage"][name]
    return answer


def _choice(request: ChatRequest, style: AnswerStyle, key: str, index: int) -> dict[str, Any]:
    full = request.last_user_text if style.echo else _text(key, style)
    text, finish_reason = _finish(full, request)
    logprobs = None
    if request.top_logprobs is not None:
        logprobs = chat_logprobs(text, request.top_logprobs, key, greedy=request.greedy)
    return {
        "index": index,
        "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }


def _text(key: str, style: AnswerStyle) -> str:
    tokens = style.completion_tokens or _drawn_length(key, style)
    words = (_WORDS[byte % len(_WORDS)] for byte in shake_256(key.encode()).digest(tokens))
    return " ".join(words)[: tokens * TOKEN_CHARACTERS - 1] + "."


def _drawn_length(key: str, style: AnswerStyle) -> int:
    z = _NORMAL.inv_cdf(max(uniform(key, 0, 0), 1e-12))
    return max(1, round(style.median_tokens * math.exp(style.sigma * z)))


def _finish(full: str, request: ChatRequest) -> tuple[str, str]:
    limit = len(full) if request.max_tokens is None else request.max_tokens * TOKEN_CHARACTERS
    text = full[:limit]
    stops = [place for stop in request.stop if (place := text.find(stop)) >= 0]
    if stops:
        return text[: min(stops)], "stop"
    return text, "length" if len(text) < len(full) else "stop"


def _usage(request: ChatRequest, seed: int, completion_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": request.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": request.prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": _cached_tokens(request, seed), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _cached_tokens(request: ChatRequest, seed: int) -> int:
    """Return a multiple of 128, for prompts of 1024 tokens or more only: OpenAI's prompt caching counts so."""
    if request.prompt_tokens < _CACHE_FROM_TOKENS:
        return 0
    steps = request.prompt_tokens // _CACHE_STEP_TOKENS
    return _CACHE_STEP_TOKENS * int(uniform(f"cached:{request.digest}", seed, 0) * (steps + 1))
