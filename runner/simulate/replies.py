"""Owns the shape of replies, and the errors a healthy OpenAI-compatible server gives for a request that is wrong.

Shapes and texts follow what OpenAI's API answers: `{"error": {"message", "type", "param", "code"}}`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.simulate.options import KeyEcho

JSON = "application/json"
_VISIBLE = 4


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply: status, whole body, headers (a Content-Length is added when it is sent).

    `events` are the pieces of the body where it is a stream; each goes out by itself.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    events: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """OpenAI's error object."""

    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


def json_reply(status: int, value: Any) -> Reply:
    """Return `value` as JSON."""
    return Reply(status, orjson.dumps(value), {"Content-Type": JSON})


def error_reply(status: int, error: ErrorBody) -> Reply:
    """Return an error in OpenAI's envelope."""
    return json_reply(status, {"error": asdict(error)})


def unknown_url(method: str, path: str) -> Reply:
    """404 for a path that is served by nothing."""
    return error_reply(404, ErrorBody(f"Invalid URL ({method} {path})"))


def wrong_method(method: str, path: str) -> Reply:
    """405 for a known path with another method."""
    hint = "(HINT: Perhaps you meant to use a different HTTP method?)"
    return error_reply(405, ErrorBody(f"Not allowed to {method} on {path}. {hint}", code="method_not_supported"))


def unauthorised(key: str | None, echo: KeyEcho) -> Reply:
    """401: the key is missing, or it is wrong and shown again as `echo` says."""
    if key is None:
        return error_reply(401, ErrorBody("You didn't provide an API key in an Authorization header."))
    shown = {"none": "", "masked": f": {_masked(key)}", "full": f": {key}"}[echo]
    return error_reply(401, ErrorBody(f"Incorrect API key provided{shown}.", code="invalid_api_key"))


def model_not_found(model: str) -> Reply:
    """404 for a model the server does not have."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return error_reply(404, ErrorBody(message, code="model_not_found"))


def not_json() -> Reply:
    """400 for a body that is no JSON object."""
    return error_reply(400, ErrorBody("We could not parse the JSON body of your request: it must be a JSON object."))


def body_too_large(limit_bytes: int) -> Reply:
    """413 for a request body above the server's limit."""
    return error_reply(413, ErrorBody(f"Request body is too large: the limit is {limit_bytes} bytes."))


def context_length_exceeded(context: int, prompt: int, completion: int) -> Reply:
    """400 for a prompt that does not fit the context together with the longest answer asked for. All in tokens."""
    message = (
        f"This model's maximum context length is {context} tokens. However, you requested {prompt + completion} tokens "
        f"({prompt} in the messages, {completion} in the completion). "
        "Please reduce the length of the messages or completion."
    )
    return error_reply(400, ErrorBody(message, param="messages", code="context_length_exceeded"))


def quota_exhausted() -> Reply:
    """429 that is no rate limit: credit is used up, waiting does not help."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return error_reply(429, ErrorBody(message, type="insufficient_quota", code="insufficient_quota"))


def _masked(key: str) -> str:
    return f"{key[:_VISIBLE]}{'*' * 8}{key[-_VISIBLE:]}"
