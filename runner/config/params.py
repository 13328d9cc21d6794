"""Owns what is known about the parameters of a chat request: types, documented ranges, and who documents them.

A wrong type is an error. A value out of the documented range is a warning: the server decides. Parameters that are
not in the table pass, as does any text that is a template, whose type is known only when a row is rendered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from runner.config.credentials import shown, shown_key
from runner.config.places import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.config.models import RunConfig

OPENAI = "OpenAI API reference"
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

# The run decides these; a second value in the body would break how answers are read or what identifies them.
_OWN_KEYS = {"messages": "request.messages", "model": "model.name", "stream": "request.stream"}
_CHAT_ENDPOINTS = ("chat", "logprobs")
_TEMPLATE = re.compile(r"\{\{|\{%")


def param_findings(request: dict[str, Any]) -> list[Finding]:
    """Return what is wrong with `params` and `extra_body` of a request section as it was read, types unchecked."""
    findings = []
    for section in ("params", "extra_body"):
        values = request.get(section)
        for name in _OWN_KEYS.keys() & (values if isinstance(values, dict) else {}):
            path = ("request", section, name)
            findings.append(Finding(path, "the run sets this itself", f"write {_OWN_KEYS[name]}"))
    params = request.get("params")
    if request.get("endpoint", "chat") in _CHAT_ENDPOINTS and isinstance(params, dict):
        for name in CHAT_PARAMS.keys() & params:
            findings += _type_findings(name, params[name])
    return findings


def warnings(config: RunConfig) -> list[str]:
    """Return what is allowed but probably not meant, each with its key."""
    request = config.request
    if request.endpoint not in _CHAT_ENDPOINTS:
        return []
    found = [warning for name, value in request.params.items() for warning in _doubts(name, value)]
    logprobs = request.params.get("logprobs")
    if request.params.get("top_logprobs") and logprobs in (None, False) and request.endpoint == "chat":
        found.append(f"request.params.top_logprobs: needs logprobs: true beside it ({OPENAI}); the server decides")
    return found


def _type_findings(name: str, value: Any) -> list[Finding]:
    param = CHAT_PARAMS[name]
    path = ("request", "params", name)
    if value is None or _is_template(value):
        return []
    if not any(_KINDS[kind](value) for kind in param.kinds):
        return [Finding(path, f"expected {' or '.join(param.kinds)}, found {shown(value)}")]
    if name == "n" and value < 1:
        return [Finding(path, f"expected 1 or more, found {shown(value)}", "each answer asked for is a row")]
    return []


def _doubts(name: str, value: Any) -> list[str]:
    key = f"request.params.{shown_key(name)}"
    param = CHAT_PARAMS.get(name)
    if param is None:
        close = get_close_matches(name, CHAT_PARAMS, n=1, cutoff=0.85)
        return [f'{key}: not a known parameter, sent as it is; did you mean "{close[0]}"?'] if close else []
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
