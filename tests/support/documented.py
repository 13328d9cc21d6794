"""Owns the parameters that the API documents name, each with a value of the form they give it."""

from __future__ import annotations

from typing import Any

_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
_CHAT_PARAMS: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": -1.5,
    "ignore_eos": True,
    "logit_bias": {"50256": -100, "198": 5},
    "logprobs": True,
    "max_completion_tokens": 64,
    "max_tokens": 65,
    "modalities": ["text", "audio"],
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "The answer is 42."},
    "presence_penalty": 2,
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    "seed": 7,
    "stop": ["\n", "END", "###", "."],
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "temperature": 0.7,
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "tools": [_TOOL],
    "top_k": 40,
    "top_logprobs": 5,
    "top_p": 0.9,
    "user": "user-1",
}
PARAMS: dict[str, dict[str, Any]] = {
    "chat": _CHAT_PARAMS,
    "completions": {**_CHAT_PARAMS, "best_of": 3, "suffix": " the end"},
}
