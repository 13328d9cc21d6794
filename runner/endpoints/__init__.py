"""Owns API shapes: how a sample becomes a request body, and a response body becomes outputs. Pure; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.endpoints import chat, completions, embeddings, loglikelihood, responses
from runner.endpoints.chat_stream import CHAT_STREAM
from runner.endpoints.completion_stream import COMPLETION_STREAM
from runner.endpoints.likelihood_wire import FORMS, Form, judge_probe, next_forms, probe_body, wire_bodies
from runner.endpoints.loglikelihood import join_answers
from runner.endpoints.media import prompt_bytes, shortened
from runner.endpoints.omission import find_omission
from runner.endpoints.response_stream import RESPONSE_STREAM
from runner.endpoints.retrieval import enter_chat, enter_responses
from runner.endpoints.sse import is_event_stream
from runner.endpoints.streaming import Streamed, StreamShape
from runner.endpoints.template import Filters, Template, compile_template, join_fields
from runner.endpoints.usage import count_tokens, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.errors import RequestError, UnsupportedError
    from runner.records import Parsed, Request, Usage

__all__ = [
    "CHAT_STREAM",
    "ENDPOINTS",
    "FORMS",
    "Endpoint",
    "Filters",
    "Form",
    "Packable",
    "StreamShape",
    "Streamed",
    "Template",
    "compile_template",
    "count_tokens",
    "find_omission",
    "is_event_stream",
    "join_answers",
    "join_fields",
    "judge_probe",
    "next_forms",
    "probe_body",
    "prompt_bytes",
    "read_usage",
    "shortened",
    "wire_bodies",
]


@dataclass(frozen=True, slots=True)
class Packable:
    """That one request may hold the inputs of several samples, as an array at the endpoint's `field`.

    `by_default` says whether it does unless the config wants it; `encoding` is a field and its value that are asked for
    unless the config says otherwise, and left out where the server refuses them. `most` is how many inputs go into one
    request unless the config says it, null where only the limits of packs decide.
    """

    by_default: bool
    encoding: tuple[str, str] | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API shape as plain functions.

    `path` is added to the base URL. `choices_wanted(body)` counts the answers a body asks for, `reserve_tokens(body,
    size_bytes)` estimates its tokens (from what `prompt_bytes` says of it), `find_problem(body)` says why a 2xx body is
    no answer, and `parse(body bytes, cases, choices)` reads the outputs (it raises ValueError for what is none).
    `count_tokens(body)` reads the counts alone. An adapter may also see errors its own way: `refine(error, body bytes)`
    may return another error for a failed answer, and `error_in_body(body)` replaces how an error inside a 2xx is found.
    `stream` assembles streamed answers into bodies of this shape; null where it has none.

    A body is made by `compose(content, parameters)`, where the content is what stands at `request.<content>` in a
    config and at `field` in the body, and, once rendered, by `finish(body)`, if there is one. `longest_answer(body)` is
    the most tokens of one answer, null where that is open. `batch_url` is the URL of OpenAI Batch lines of this shape.
    `fixed_choices` says that parameters alone decide how many answers a body asks for, whatever its content. `packable`
    is null where each sample is a request of its own. `glance(body bytes)` returns the token counts of a body that is
    plainly an answer, and spares parsing it to find that out.

    An endpoint whose answers mean nothing without their request has `parse_exchange(request, answer, cases, choices)`;
    one with several keys of content names them in `contents`, and `compose` gets an object with all of them. Where
    `refuses_rows`, `finish` may raise TemplateError. `find_omission(request, answer)` is its own way to notice what an
    answer leaves out, which then always stops the run.
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
    count_tokens: Callable[[Any], Usage] = count_tokens
    refine: Callable[[RequestError, bytes], RequestError] | None = None
    error_in_body: Callable[[Any], RequestError | None] | None = None
    stream: StreamShape | None = None
    packable: Packable | None = None
    glance: Callable[[bytes], Usage | None] | None = None
    contents: tuple[str, ...] = ()
    refuses_rows: bool = False
    parse_exchange: Callable[[bytes, bytes, int, int], Parsed] | None = None
    find_omission: Callable[[Request, bytes], UnsupportedError | None] | None = None

    @property
    def content_keys(self) -> tuple[str, ...]:
        """The config keys below request that hold what is asked."""
        return self.contents or (self.content,)

    def read(self, request: bytes, answer: bytes, cases: int, choices: int) -> Parsed:
        """Read the outputs of an answer; both bodies as they were stored. Raises as `parse` does."""
        if self.parse_exchange is not None:
            return self.parse_exchange(request, answer, cases, choices)
        return self.parse(answer, cases, choices)


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
        stream=CHAT_STREAM,
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
        stream=CHAT_STREAM,
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
        stream=COMPLETION_STREAM,
        packable=Packable(by_default=False),
    ),
    "embeddings": Endpoint(
        "embeddings",
        embeddings.PATH,
        embeddings.choices_wanted,
        embeddings.reserve_tokens,
        embeddings.find_problem,
        embeddings.parse,
        compose=embeddings.compose,
        longest_answer=embeddings.longest_answer,
        asks_for_logprobs=embeddings.asks_for_logprobs,
        content="input",
        field="input",
        fixed_choices=False,
        batch_url="/v1/embeddings",
        packable=Packable(by_default=True, encoding=embeddings.ENCODING),
        glance=embeddings.glance,
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
        stream=RESPONSE_STREAM,
        enter_retrieval=enter_responses,
    ),
    "loglikelihood": Endpoint(
        "loglikelihood",
        loglikelihood.PATH,
        loglikelihood.choices_wanted,
        loglikelihood.reserve_tokens,
        loglikelihood.find_problem,
        loglikelihood.parse,
        compose=loglikelihood.compose,
        finish=loglikelihood.finish,
        longest_answer=loglikelihood.longest_answer,
        asks_for_logprobs=completions.asks_for_logprobs,
        field="context",
        fixed_choices=False,
        contents=loglikelihood.CONTENTS,
        refuses_rows=True,
        parse_exchange=loglikelihood.parse_exchange,
        find_omission=loglikelihood.find_omission,
    ),
}
