"""Owns API shapes: how a sample becomes a request body, and a response body becomes outputs. Pure; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.endpoints import chat, completions, responses
from runner.endpoints.omission import find_omission
from runner.endpoints.retrieval import enter_chat, enter_responses
from runner.endpoints.template import Template, compile_template, join_fields
from runner.endpoints.usage import count_tokens, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.errors import RequestError
    from runner.records import Parsed

__all__ = [
    "ENDPOINTS",
    "Endpoint",
    "Template",
    "compile_template",
    "count_tokens",
    "find_omission",
    "join_fields",
    "read_usage",
]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API shape as plain functions.

    `path` is added to the base URL. `choices_wanted(body)` counts the answers a body asks for, `reserve_tokens(body,
    size_bytes)` estimates its tokens, `find_problem(body)` says why a 2xx body is no answer, and `parse(body bytes,
    cases, choices)` reads the outputs (it raises ValueError for what is none).

    A body is made by `compose(content, parameters)`, where the content is what stands at `request.<content>` in a
    config and at `field` in the body, and, once rendered, by `finish(body)`, if there is one. `longest_answer(body)` is
    the most tokens of one answer, null where that is open. `batch_url` is the URL of OpenAI Batch lines of this shape.
    `fixed_choices` says that parameters alone decide how many answers a body asks for, whatever its content.
    `enter_retrieval(body, knowledge_base, documents)` puts into a finished body what a sample may look into; null: the
    shape has no place for it.
    """

    name: str
    path: str
    choices_wanted: Callable[[dict[str, Any]], int]
    reserve_tokens: Callable[[dict[str, Any], int], int]
    find_problem: Callable[[Any], RequestError | None]
    parse: Callable[[bytes, int, int], Parsed]
    compose: Callable[[Any, dict[str, Any]], dict[str, Any]] = chat.compose
    finish: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    longest_answer: Callable[[dict[str, Any]], int | None] = chat.longest_answer
    asks_for_logprobs: Callable[[dict[str, Any]], bool] = chat.asks_for_logprobs
    content: str = "messages"
    field: str = "messages"
    batch_url: str | None = None
    fixed_choices: bool = True
    enter_retrieval: Callable[[dict[str, Any], Any, Any], dict[str, Any]] | None = None


# A new API shape is one module and one entry here.
ENDPOINTS: dict[str, Endpoint] = {
    "chat": Endpoint(
        "chat",
        chat.PATH,
        chat.choices_wanted,
        chat.reserve_tokens,
        chat.find_problem,
        chat.parse,
        batch_url="/v1/chat/completions",
        enter_retrieval=enter_chat,
    ),
    "logprobs": Endpoint(
        "logprobs",
        chat.PATH,
        chat.choices_wanted,
        chat.reserve_tokens,
        chat.find_problem,
        chat.parse,
        compose=chat.compose_with_logprobs,
        enter_retrieval=enter_chat,
    ),
    "completions": Endpoint(
        "completions",
        completions.PATH,
        completions.choices_wanted,
        completions.reserve_tokens,
        completions.find_problem,
        completions.parse,
        compose=completions.compose,
        longest_answer=completions.longest_answer,
        asks_for_logprobs=completions.asks_for_logprobs,
        content="prompt",
        field="prompt",
        fixed_choices=False,
        batch_url="/v1/completions",
    ),
    "responses": Endpoint(
        "responses",
        responses.PATH,
        responses.choices_wanted,
        responses.reserve_tokens,
        responses.find_problem,
        responses.parse,
        compose=responses.compose,
        finish=responses.finish,
        longest_answer=responses.longest_answer,
        asks_for_logprobs=responses.asks_for_logprobs,
        field="input",
        batch_url="/v1/responses",
        enter_retrieval=enter_responses,
    ),
}
