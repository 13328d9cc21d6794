"""Owns what is known about the parameters of a request: types, documented ranges, and who documents them.

A wrong type is an error. A value out of the documented range is a warning: the server decides. Parameters that are
not in the endpoint's table pass, as does any text that is a template, whose type is known only when a row is rendered.

Descriptions of one API disagree (a temperature of 0 to 1, of 0 to 2, of more than 0 and less than 2): the range here is
the widest that is documented, ends included, and its source the one that documents it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from runner.config.credentials import shown, shown_key
from runner.config.places import Finding
from runner.config.truncation import truncation_doubts

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.config.models import Request, RunConfig

OPENAI = "OpenAI API reference"
ROUTERS = "completions API of model routers"
VLLM = "vLLM documentation"

WHOLE, NUMBER, FLAG, TEXT = "a whole number", "a number", "true or false", "a text"
LIST, TEXTS, MAPPING = "a list", "a list of texts", "a mapping"


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: the kinds of value it takes; the documented range, ends included; the most items of a list."""

    kinds: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    most: int | None = None
    source: str = OPENAI


CHAT_PARAMS = {
    "audio": Param((MAPPING,)),
    "frequency_penalty": Param((NUMBER,), -2, 2),
    "function_call": Param((TEXT, MAPPING)),
    "functions": Param((LIST,)),
    "logit_bias": Param((MAPPING,), -100, 100),
    "logprobs": Param((FLAG,)),
    "max_completion_tokens": Param((WHOLE,)),
    "max_tokens": Param((WHOLE,)),
    "metadata": Param((MAPPING,), most=16),
    "modalities": Param((TEXTS,)),
    "n": Param((WHOLE,), 1, 128),
    "parallel_tool_calls": Param((FLAG,)),
    "prediction": Param((MAPPING,)),
    "presence_penalty": Param((NUMBER,), -2, 2),
    "prompt_cache_key": Param((TEXT,)),
    "reasoning_effort": Param((TEXT,)),
    "response_format": Param((MAPPING,)),
    "safety_identifier": Param((TEXT,)),
    "seed": Param((WHOLE,)),
    "service_tier": Param((TEXT,)),
    "stop": Param((TEXT, TEXTS), most=4),
    "store": Param((FLAG,)),
    "stream_options": Param((MAPPING,)),
    "temperature": Param((NUMBER,), 0, 2),
    "tool_choice": Param((TEXT, MAPPING)),
    "tools": Param((LIST,)),
    "top_logprobs": Param((WHOLE,), 0, 20),
    "top_p": Param((NUMBER,), 0, 1),
    "user": Param((TEXT,)),
    "verbosity": Param((TEXT,)),
    "web_search_options": Param((MAPPING,)),
    "chat_template_kwargs": Param((MAPPING,), source=VLLM),
    "ignore_eos": Param((FLAG,), source=VLLM),
    "min_p": Param((NUMBER,), 0, 1, source=VLLM),
    "min_tokens": Param((WHOLE,), 0, source=VLLM),
    "repetition_penalty": Param((NUMBER,), source=VLLM),
    "skip_special_tokens": Param((FLAG,), source=VLLM),
    "stop_token_ids": Param((LIST,), source=VLLM),
    "top_k": Param((WHOLE,), -1, source=VLLM),
}

# Gateways serve completions with the parameters of chat; log probabilities are a number here, a flag there.
COMPLETIONS_PARAMS = {
    **CHAT_PARAMS,
    "best_of": Param((WHOLE,), 1, 20),
    "echo": Param((FLAG,)),
    "logprobs": Param((WHOLE, FLAG), 0, 20, source=ROUTERS),
    "suffix": Param((TEXT,)),
    "top_logprobs": Param((WHOLE,), 0, 20, source=ROUTERS),
    "use_beam_search": Param((FLAG,), source=VLLM),
}

# All that would steer a choice of tokens has nothing to steer.
LIKELIHOOD_PARAMS = {
    name: COMPLETIONS_PARAMS[name]
    for name in ("logprobs", "seed", "service_tier", "skip_special_tokens", "temperature", "user")
} | {"add_special_tokens": Param((FLAG,), source=VLLM)}

RESPONSES_PARAMS = {
    "background": Param((FLAG,)),
    "conversation": Param((TEXT, MAPPING)),
    "include": Param((TEXTS,)),
    "instructions": Param((TEXT, LIST)),
    "max_output_tokens": Param((WHOLE,)),
    "max_tool_calls": Param((WHOLE,)),
    "metadata": Param((MAPPING,), most=16),
    "parallel_tool_calls": Param((FLAG,)),
    "previous_response_id": Param((TEXT,)),
    "prompt": Param((MAPPING,)),
    "prompt_cache_key": Param((TEXT,)),
    "reasoning": Param((MAPPING,)),
    "safety_identifier": Param((TEXT,)),
    "service_tier": Param((TEXT,)),
    "store": Param((FLAG,)),
    "stream_options": Param((MAPPING,)),
    "temperature": Param((NUMBER,), 0, 2),
    "text": Param((MAPPING,)),
    "tool_choice": Param((TEXT, MAPPING)),
    "tools": Param((LIST,)),
    "top_logprobs": Param((WHOLE,), 0, 20),
    "top_p": Param((NUMBER,), 0, 1),
    "truncation": Param((TEXT,)),
    "user": Param((TEXT,)),
}

# Served by OpenAI, or by vLLM, TEI and infinity in addition.
EMBEDDINGS_PARAMS = {
    "dimensions": Param((WHOLE,), 1),
    "encoding_format": Param((TEXT,)),
    "user": Param((TEXT,)),
    "add_special_tokens": Param((FLAG,), source=VLLM),
    "normalize": Param((FLAG,), source=VLLM),
    "priority": Param((WHOLE,), source=VLLM),
    "truncate_prompt_tokens": Param((WHOLE,), -1, source=VLLM),
}

PARAMS = {
    "chat": CHAT_PARAMS,
    "logprobs": CHAT_PARAMS,
    "completions": COMPLETIONS_PARAMS,
    "loglikelihood": LIKELIHOOD_PARAMS,
    "responses": RESPONSES_PARAMS,
    "embeddings": EMBEDDINGS_PARAMS,
}

# The run decides these; a second value in the body would break how answers are read or what identifies them.
_MESSAGES = {"messages": "request.messages", "model": "model.name", "stream": "request.stream"}
_OWN_KEYS = {
    "completions": {"prompt": "request.prompt", "model": "model.name", "stream": "request.stream"},
    "loglikelihood": {
        "prompt": "request.context and request.continuations",
        "context": "request.context",
        "continuations": "request.continuations",
        "model": "model.name",
        "stream": "request.stream",
        **dict.fromkeys(
            ("best_of", "echo", "max_completion_tokens", "max_tokens", "min_tokens", "n", "prompt_logprobs", "stop"),
            "nothing: no text is asked for",
        ),
    },
    "responses": {"input": "request.messages", "model": "model.name", "stream": "request.stream"},
    "embeddings": {"input": "request.input", "model": "model.name"},
}
# What other descriptions of these APIs count among the parameters, and what the responses endpoint calls otherwise.
_ELSEWHERE = {
    "timeout": "request.timeout_s",
    "extra_headers": "model.headers",
    "extra_body": "request.extra_body",
    "extra_params": "request.extra_body",
}
_IN_RESPONSES = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning: {effort: …}",
    "response_format": "text: {format: …}",
    "logprobs": "include: [message.output_text.logprobs]",
    "n": "request.repeats",
}
_TEMPLATE = re.compile(r"\{\{|\{%")


def param_findings(request: dict[str, Any]) -> list[Finding]:
    """Return what is wrong with `params` and `extra_body` of a request section as it was read, types unchecked."""
    findings = []
    endpoint = request.get("endpoint", "chat")
    own = _OWN_KEYS.get(endpoint, _MESSAGES) if isinstance(endpoint, str) else _MESSAGES
    for section in ("params", "extra_body"):
        values = request.get(section)
        for name in own.keys() & (values if isinstance(values, dict) else {}):
            path = ("request", section, name)
            findings.append(Finding(path, "the run sets this itself", f"write {own[name]}"))
    params, known = request.get("params"), PARAMS.get(endpoint) if isinstance(endpoint, str) else None
    if known and isinstance(params, dict):
        for name in known.keys() & params:
            findings += _type_findings(name, params[name], known[name])
    return findings


def warnings(config: RunConfig) -> list[str]:
    """Return what is allowed but probably not meant, each with its key."""
    request = config.request
    known = PARAMS.get(request.endpoint)
    if known is None:
        return truncation_doubts(request)
    elsewhere = _IN_RESPONSES if request.endpoint == "responses" else {}
    found = []
    for name, value in request.params.items():
        if name in known:
            found += _doubts(name, value, known[name])
        else:
            found += _strangeness(name, known, _ELSEWHERE | elsewhere)
    found += _contradictions(request.endpoint, request.params)
    return [*found, *_not_streamed(request), *truncation_doubts(request)]


def _contradictions(endpoint: str, params: dict[str, Any]) -> list[str]:
    found = []
    logprobs, top = params.get("logprobs"), params.get("top_logprobs")
    if top and endpoint == "chat" and logprobs in (None, False):
        found.append(f"request.params.top_logprobs: needs logprobs: true beside it ({OPENAI}); the server decides")
    if endpoint == "logprobs" and logprobs is False:
        found.append("request.params.logprobs: the endpoint logprobs always sends true")
    if top and endpoint == "responses" and not params.get("include"):
        found.append(
            "request.params.top_logprobs: needs include: [message.output_text.logprobs] beside it "
            f"({OPENAI}); the server decides"
        )
    best_of, n = params.get("best_of"), params.get("n", 1)
    if endpoint == "completions" and _is_whole(best_of) and _is_whole(n) and best_of < n:
        found.append(f"request.params.best_of: {best_of} is less than n, {n} ({OPENAI}); the server decides")
    return found


def _not_streamed(request: Request) -> list[str]:
    best_of = request.params.get("best_of")
    if request.stream and request.endpoint == "completions" and type(best_of) is int and best_of > 1:
        return [f"request.params.best_of: its results cannot be streamed ({OPENAI}); the server decides"]
    return []


def _type_findings(name: str, value: Any, param: Param) -> list[Finding]:
    path = ("request", "params", name)
    if value is None or _is_template(value):
        return []
    if not any(_KINDS[kind](value) for kind in param.kinds):
        return [Finding(path, f"expected {' or '.join(param.kinds)}, found {shown(value)}")]
    if name == "n" and value < 1:
        return [Finding(path, f"expected 1 or more, found {shown(value)}", "each answer asked for is a row")]
    if name == "background" and value:
        return [Finding(path, "the answer would come later, elsewhere", "a run takes it from the request's own reply")]
    return []


def _strangeness(name: str, known: dict[str, Param], elsewhere: dict[str, str]) -> list[str]:
    key = f"request.params.{shown_key(name)}"
    if name in elsewhere:
        return [f"{key}: not a parameter of this endpoint, sent as it is; did you mean {elsewhere[name]}?"]
    close = get_close_matches(name, known, n=1, cutoff=0.85)
    return [f'{key}: not a known parameter, sent as it is; did you mean "{close[0]}"?'] if close else []


def _doubts(name: str, value: Any, param: Param) -> list[str]:
    key = f"request.params.{shown_key(name)}"
    doubts = []
    outside = [number for number in _numbers(value) if not _within(number, param)]
    if outside:
        doubts.append(f"{key}: {shown(outside[0])} is outside {_range(param)} ({param.source}); the server decides")
    if param.most is not None and isinstance(value, list | dict) and len(value) > param.most:
        doubts.append(f"{key}: {len(value)} items, more than {param.most} ({param.source}); the server decides")
    return doubts


def _numbers(value: Any) -> list[float]:
    values = value.values() if isinstance(value, dict) else [value]
    return [number for number in values if _is_number(number)]


def _within(number: float, param: Param) -> bool:
    return (param.low is None or number >= param.low) and (param.high is None or number <= param.high)


def _range(param: Param) -> str:
    if param.high is None:
        return f"{param.low} and more"
    return f"{param.low} to {param.high}"


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and _TEMPLATE.search(value) is not None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_KINDS: dict[str, Callable[[Any], bool]] = {
    WHOLE: _is_whole,
    NUMBER: _is_number,
    FLAG: lambda value: isinstance(value, bool),
    TEXT: lambda value: isinstance(value, str),
    LIST: lambda value: isinstance(value, list),
    TEXTS: _is_texts,
    MAPPING: lambda value: isinstance(value, dict),
}
