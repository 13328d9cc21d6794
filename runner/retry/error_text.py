"""Owns what only an error's text tells: troubles to which servers give the same status, code and type, or none at all.

Each is a pattern with its source. What stands here is what the whole run or the row's length hangs on; all other texts
are for people.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runner.errors import AuthError, ContextLengthError, ModelNotFoundError, QuotaError, RequestTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.errors import RequestError
    from runner.retry.error_body import ErrorBody

    Kind = type[RequestError]

# Context overflow under a type that means any bad request: OpenAI embeddings, vLLM, SGLang, Mistral ("maximum context
# length", "maximum model length", "model's context length"), LiteLLM (its exception's name), Anthropic ("prompt is too
# long", "exceed context limit"), TGI and TEI (`inputs` tokens + `max_new_tokens` must be <= n; `inputs` must have less
# than n tokens), Gemini ("input token count ... exceeds the maximum"), Ollama ("input length exceeds the context
# length"), LM Studio ("greater than the context length", "context length of only"), older llama.cpp ("available context
# size"), Bedrock ("too long for requested model"), xAI ("maximum prompt length").
_CONTEXT_TEXT = re.compile(
    r"maximum context length|maximum model length|model's context length|ContextWindowExceededError"
    r"|prompt is too long|exceed context limit|`inputs` tokens \+ `max_new_tokens` must be|`inputs` must have less than"
    r"|input token count .{0,40}exceeds the maximum|input length exceeds the context length"
    r"|greater than the context length|loaded with context length of only|exceeds the available context size"
    r"|Input is too long for requested model|maximum prompt length is",
    re.IGNORECASE,
)
# llama.cpp answers an embedding input that is longer than its physical batch with a 500 that no retry mends.
_BATCH_TEXT = re.compile(r"is too large to process\. increase the physical batch size", re.IGNORECASE)
# Anthropic's own spend limits and empty balance are 400 invalid_request_error, and LiteLLM passes the text on; xAI's
# are 429 or 403, OpenRouter's limit of a key and the quota of Azure API Management are 403.
_QUOTA_TEXT = re.compile(
    r"credit balance is too low|reached your specified (?:workspace )?API usage limits"
    r"|used all available credits or reached its monthly spending limit|run out of credits or need a Grok subscription"
    r"|^Key limit exceeded\b.{0,40}Manage it|^Out of (?:call volume|bandwidth) quota",
    re.IGNORECASE,
)
# xAI calls a wrong key, Gemini a country that it does not serve, an invalid argument.
_AUTH_TEXT = re.compile(r"^Incorrect API key provided|^User location is not supported", re.IGNORECASE)
# OpenAI: more tokens in one request than the limit per minute holds has the code and type of an ordinary rate limit,
# but no wait will help.
_TOO_LARGE_TEXT = re.compile(r"\bRequest too large for .{0,300}\bLimit \d+, Requested \d+", re.IGNORECASE)
# Ollama and older vLLM give a text alone, Anthropic not_found_error with "model: name", OpenRouter "No endpoints".
_MODEL_TEXT = re.compile(
    r"^model: |^No endpoints found for |\bmodels?\b.{0,200}?\b(?:not found|does not exist|is not supported)",
    re.IGNORECASE,
)
# A model that is there and of another kind: Azure (OperationNotSupported), vLLM, Ollama.
_OTHER_MODEL_TEXT = re.compile(
    r"\boperation does not work with the specified model|^The model does not support [\w ]{1,40} API$"
    r"|^\S+ does not support (?:chat|generate|embeddings)$",
    re.IGNORECASE,
)


def kind_by_text(status: int, said: ErrorBody) -> Kind | None:
    """Return what an error of this status is by its text; null leaves it to the status."""
    read = _READ_BY_TEXT.get(status)
    return None if read is None else read(said)


def kind_by_text_alone(said: ErrorBody) -> Kind | None:
    """Return what an error inside a 200 is that has neither code nor type: LM Studio gives a text and no more."""
    return ContextLengthError if _CONTEXT_TEXT.search(said.text) else None


def _read_bad_request(said: ErrorBody) -> Kind | None:
    if _QUOTA_TEXT.search(said.text):
        return QuotaError
    if _CONTEXT_TEXT.search(said.text):
        return ContextLengthError
    if _AUTH_TEXT.search(said.text):
        return AuthError
    # LiteLLM blames the parameter and repeats the status as code. With a code of its own (OpenAI: invalid_value), the
    # complaint is about what this row asks of the model.
    if (said.param == "model" and said.code is not None) or _OTHER_MODEL_TEXT.search(said.text):
        return ModelNotFoundError
    return None


def _read_forbidden(said: ErrorBody) -> Kind | None:
    return QuotaError if _QUOTA_TEXT.search(said.text) else None


def _read_not_found(said: ErrorBody) -> Kind | None:
    return ModelNotFoundError if said.param == "model" or _MODEL_TEXT.search(said.text) else None


def _read_too_large(said: ErrorBody) -> Kind | None:
    return ContextLengthError if _CONTEXT_TEXT.search(said.text) else None


def _read_too_many(said: ErrorBody) -> Kind | None:
    if _QUOTA_TEXT.search(said.text):
        return QuotaError
    return RequestTooLargeError if _TOO_LARGE_TEXT.search(said.text) else None


def _read_server_error(said: ErrorBody) -> Kind | None:
    return ContextLengthError if _BATCH_TEXT.search(said.text) else None


_READ_BY_TEXT: dict[int, Callable[[ErrorBody], Kind | None]] = {
    400: _read_bad_request,
    403: _read_forbidden,
    404: _read_not_found,
    413: _read_too_large,
    422: _read_bad_request,
    429: _read_too_many,
    500: _read_server_error,
}
