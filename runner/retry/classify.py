"""Owns what a failed answer means: an HTTP status and its body, or an error inside a 200, as a class of `errors`.

The status decides, refined by the error's code or type, and only where these leave it open by the text.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runner.errors import (
    AuthError,
    BadRequestError,
    ContextLengthError,
    ModelNotFoundError,
    NotFoundError,
    OverloadError,
    PermissionDeniedError,
    QuotaError,
    RateLimitError,
    RedirectError,
    RequestError,
    RequestTimeoutError,
    RequestTooLargeError,
    ServerError,
)
from runner.retry.error_body import error_body_from_document, one_line, read_error_body
from runner.retry.error_text import kind_by_text, kind_by_text_alone
from runner.retry.retry_after import rate_limit_reset_s, retry_after_s

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from runner.retry.error_body import ErrorBody

MAX_MESSAGE = 300

Kind = type[RequestError]

# Codes and types that mean the same at any status of 400 and above, from the error references of OpenAI (the four spend
# codes are all 429, some with the type insufficient_quota), Anthropic (error.details.error_code), LiteLLM, OpenRouter,
# Moonshot, Azure, Mistral, Groq, llama.cpp and Gemini.
_BY_SIGNAL: dict[str, Kind] = {
    "insufficient_quota": QuotaError,
    "billing_hard_limit_reached": QuotaError,
    "billing_not_active": QuotaError,
    "billing_error": QuotaError,
    "credit_balance_exhausted": QuotaError,
    "organization_spend_limit_exceeded": QuotaError,
    "organization_usage_limit_exceeded": QuotaError,
    "project_spend_limit_exceeded": QuotaError,
    "enforced_spend_limit_reached": QuotaError,
    "budget_exceeded": QuotaError,
    "payment_required": QuotaError,
    "exceeded_current_quota_error": QuotaError,
    "model_not_found": ModelNotFoundError,
    "deploymentnotfound": ModelNotFoundError,
    "invalid_model": ModelNotFoundError,
    "model_decommissioned": ModelNotFoundError,
    "context_length_exceeded": ContextLengthError,
    "exceed_context_size_error": ContextLengthError,
    "invalid_api_key": AuthError,
    "api_key_invalid": AuthError,
    "max_tokens_per_request": RequestTooLargeError,  # OpenAI embeddings: all inputs of one request together
}

# OpenRouter, 403: the row's content was refused, not the key.
_REFUSED_CONTENT = frozenset({"flagged_input", "content_policy_violation"})

# For an error inside a 200, where no status says it: types of OpenAI, Anthropic, OpenRouter, vLLM, TGI, llama.cpp.
_BY_TYPE_IN_200: dict[str, Kind] = {
    "rate_limit_error": RateLimitError,
    "rate_limit_exceeded": RateLimitError,
    "resource_exhausted": RateLimitError,
    "overloaded_error": OverloadError,
    "overloaded": OverloadError,
    "provider_overloaded": OverloadError,
    "server_is_overloaded": OverloadError,
    "unavailable_error": OverloadError,
    "unavailable": OverloadError,
    "timeout": RequestTimeoutError,
    "authentication_error": AuthError,
    "permission_error": PermissionDeniedError,
    "invalid_request_error": BadRequestError,
    "badrequesterror": BadRequestError,
    "invalid_prompt": BadRequestError,
    "validation": BadRequestError,
}

_BY_STATUS: dict[int, Kind] = {
    401: AuthError,
    402: QuotaError,
    404: NotFoundError,
    405: NotFoundError,
    407: AuthError,
    408: RequestTimeoutError,
    409: ServerError,
    413: RequestTooLargeError,
    424: ServerError,  # TGI: the generation failed, the request was sound
    425: ServerError,
    429: RateLimitError,
    498: OverloadError,  # Groq: no capacity for the flex tier
    501: NotFoundError,  # llama.cpp: the endpoint is switched off, for every row
    503: OverloadError,
    529: OverloadError,
}

_HINTS: dict[Kind, str] = {
    RateLimitError: "lower limits.requests_per_minute or limits.tokens_per_minute",
    OverloadError: "lower limits.max_in_flight if this goes on",
    ServerError: "look at the server's log if this goes on",
    RequestTimeoutError: "raise request.timeout_s, or lower limits.max_in_flight",
    BadRequestError: "the server refuses this request as it is: check request.params and the row",
    ContextLengthError: "shorten the prompt or lower the maximum of answer tokens",
    NotFoundError: "check model.base_url, model.path and request.endpoint",
    RequestTooLargeError: "shorten the prompt, or lower request.batch_size",
    PermissionDeniedError: "the server refuses this row's content, or its features, to this key",
    RedirectError: "set model.base_url to the final address; a redirect is never followed: it would carry the key away",
    AuthError: "check the key in the variable that model.api_key_env names, and what it is allowed to use",
    ModelNotFoundError: "check model.name, and that this key may use it",
    QuotaError: "add credit or raise the spend limit, then resume the run",
}


def classify_status(
    status: int, headers: Mapping[str, str], body: bytes, *, answered_before: bool, now: datetime
) -> RequestError | None:
    """Return what an HTTP answer failed with; null for a 2xx.

    Header names are lower case, `now` is aware. `answered_before` says whether this key has had an answer in this run:
    a 403 until then is about the key, later about the row. The error carries the status and the wait the server asks
    for; its message is the server's text, one line of 300 characters at most.
    """
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    wait_s = retry_after_s(headers, now=now)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return _redirect(status, headers, wait_s)
    said = read_error_body(body)
    kind = _kind(status, said, answered_before=answered_before)
    if kind is RateLimitError and wait_s is None:
        wait_s = rate_limit_reset_s(headers, now=now)
    message = f"HTTP {status}: {said.text or _phrase(status)}"
    return kind(_short(message), hint=_HINTS[kind], http_status=status, retry_after_s=wait_s)


def error_in_body(parsed: object) -> RequestError | None:
    """Return the error that the parsed JSON body of a 200 holds in place of an answer; null when it holds none.

    OpenRouter and LiteLLM report what went wrong after their 200 was sent this way, vLLM with `"object": "error"`.
    """
    if not isinstance(parsed, dict) or not (_is_error(parsed.get("error")) or parsed.get("object") == "error"):
        return None
    said = error_body_from_document(parsed)
    kind = _kind_in_200(said)
    message = f"HTTP 200 with an error: {said.text or 'no text'}"
    return kind(_short(message), hint=_HINTS[kind], http_status=int(HTTPStatus.OK))


def _kind(status: int, said: ErrorBody, *, answered_before: bool) -> Kind:
    by_signal = _by_table(said, _BY_SIGNAL)
    if by_signal is not None:
        return by_signal
    by_text = kind_by_text(status, said)
    if by_text is not None:
        return by_text
    if status == HTTPStatus.FORBIDDEN:
        return PermissionDeniedError if answered_before or said.signals & _REFUSED_CONTENT else AuthError
    return _BY_STATUS.get(status, BadRequestError if _is_client_error(status) else ServerError)


def _kind_in_200(said: ErrorBody) -> Kind:
    if said.code is not None:
        return _kind(said.code, said, answered_before=True)
    by_name = _by_table(said, _BY_SIGNAL) or _by_table(said, _BY_TYPE_IN_200)
    if by_name is not None:
        return by_name
    return kind_by_text_alone(said) or ServerError


def _by_table(said: ErrorBody, table: dict[str, Kind]) -> Kind | None:
    # In the order of the table, so that the result does not hang on the order of a set.
    return next((kind for signal, kind in table.items() if signal in said.signals), None)


def _redirect(status: int, headers: Mapping[str, str], wait_s: float | None) -> RedirectError:
    # The host alone: path and query of a target may hold secrets.
    try:
        host = urlsplit(headers.get("location", "")).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    target = f"the host {one_line(host)}" if host else "another path"
    message = f"HTTP {status}: the server redirects to {target}"
    return RedirectError(_short(message), hint=_HINTS[RedirectError], http_status=status, retry_after_s=wait_s)


def _is_error(value: object) -> bool:
    # Some proxies always send the object, with nulls in it.
    return any(value.values()) if isinstance(value, dict) else bool(value)


def _is_client_error(status: int) -> bool:
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no text"


def _short(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"
