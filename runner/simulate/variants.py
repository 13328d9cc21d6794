"""Owns answers that are odd but real: valid JSON, shapes that servers in use do send.

Each takes the body of a chat completion and changes it in place; what it costs stays in `usage`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from runner.simulate.prompts import count_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Answer: TypeAlias = dict[str, Any]
Dress: TypeAlias = "Callable[[Answer], Answer]"

_APOLOGY = "I'm sorry, I can't assist with that request."


def _odd_finish(answer: Answer) -> None:
    """Cut the word: `"finish_reason": "sto"` stands in the API description that custom endpoints are built after."""
    for choice in answer["choices"]:
        choice["finish_reason"] = "sto"


def _refusal_none(answer: Answer) -> None:
    """Write None as a word, in the message and in logprobs: from the same description."""
    for choice in answer["choices"]:
        choice["message"]["refusal"] = "None"
        if choice["logprobs"] is not None:
            choice["logprobs"]["refusal"] = "None"


def _refusal(answer: Answer) -> None:
    """Refuse as OpenAI does: no content, finish_reason stop, and the tokens stand in logprobs.refusal."""
    for choice in answer["choices"]:
        choice["message"].update(content=None, refusal=_APOLOGY)
        choice["finish_reason"] = "stop"
        if choice["logprobs"] is not None:
            choice["logprobs"] = {"content": None, "refusal": choice["logprobs"]["content"]}


def _tool_calls(answer: Answer) -> None:
    """Call a tool as OpenAI does: content null, arguments as JSON in a string."""
    for choice in answer["choices"]:
        arguments = orjson.dumps({"query": choice["message"]["content"]}).decode()
        function = {"name": "lookup", "arguments": arguments}
        call = {"id": f"call_{answer['id'][-24:]}", "type": "function", "function": function}
        choice["message"].update(content=None, tool_calls=[call])
        choice["finish_reason"] = "tool_calls"
        choice["logprobs"] = None


def _reasoning(answer: Answer) -> None:
    """Think aloud as DeepSeek and vLLM do: `reasoning_content`, whose tokens are part of completion_tokens."""
    usage = answer["usage"]
    for choice in answer["choices"]:
        thought = f"The question needs thought. {choice['message']['content']}"
        choice["message"]["reasoning_content"] = thought
        tokens = count_tokens(thought)
        usage["completion_tokens_details"]["reasoning_tokens"] += tokens
        usage["completion_tokens"] += tokens
        usage["total_tokens"] += tokens


def _content_filter(answer: Answer) -> None:
    """Filter as Azure OpenAI does: the message has no content at all, and the verdict stands beside it."""
    for choice in answer["choices"]:
        choice["message"] = {"role": "assistant"}
        choice["finish_reason"] = "content_filter"
        choice["logprobs"] = None
        choice["content_filter_results"] = {"violence": {"filtered": True, "severity": "medium"}}


def _null_content(answer: Answer) -> None:
    """Write an empty answer as null rather than as an empty string."""
    for choice in answer["choices"]:
        choice["message"]["content"] = None
        choice["logprobs"] = None


def _missing_usage(answer: Answer) -> None:
    """Drop usage, as some gateways do."""
    del answer["usage"]


def _fewer_choices(answer: Answer) -> None:
    """Leave half of the choices (at least one), as servers that do not heed n."""
    answer["choices"] = answer["choices"][: max(1, len(answer["choices"]) // 2)]


def _no_choices(answer: Answer) -> None:
    """Leave no choice at all."""
    answer["choices"] = []


VARIANTS: Mapping[str, Callable[[Answer], None]] = MappingProxyType(
    {
        "odd_finish": _odd_finish,
        "refusal_none": _refusal_none,
        "refusal": _refusal,
        "tool_calls": _tool_calls,
        "reasoning": _reasoning,
        "content_filter": _content_filter,
        "null_content": _null_content,
        "missing_usage": _missing_usage,
        "fewer_choices": _fewer_choices,
        "no_choices": _no_choices,
    }
)
