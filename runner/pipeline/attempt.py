"""Owns one attempt: send, judge, and say what became of it. No waiting besides the send; no retries here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runner.endpoints import count_tokens
from runner.errors import InvalidResponseError, RequestError, kind_of
from runner.jsontext import NestingError, loads
from runner.records import Attempt, Failure, Usage, value
from runner.retry import classify_status, error_in_body
from runner.transport import request_id

if TYPE_CHECKING:
    from runner.endpoints import Endpoint
    from runner.records import Request, Response
    from runner.transport import Transport

_OK, _MULTIPLE_CHOICES = 200, 300
_NO_USAGE = Usage()


@value
class Outcome:
    """What one attempt brought: a response, or an error, or an error with the response that holds it.

    `usage` is the server's own count, with nulls where it stated none.
    """

    response: Response | None
    error: RequestError | None
    usage: Usage = _NO_USAGE


async def send(transport: Transport, endpoint: Endpoint, request: Request, *, answered_before: bool) -> Outcome:
    """Send a request once and judge what came back."""
    try:
        response = await transport.post(request.path, request.body)
    except RequestError as error:
        return Outcome(None, error)
    return judge(endpoint, response, answered_before=answered_before)


def judge(endpoint: Endpoint, response: Response, *, answered_before: bool) -> Outcome:
    """Say whether a response is an answer. What cannot be judged is kept as one: it was paid for."""
    status = response.http_status
    if not _OK <= status < _MULTIPLE_CHOICES:
        now = datetime.now(UTC)
        error = classify_status(status, response.headers, response.body, answered_before=answered_before, now=now)
        return Outcome(response, error)
    try:
        if endpoint.glance is not None and (usage := endpoint.glance(response.body)) is not None:
            return Outcome(response, None, usage)
        value, _ = loads(response.body)
    except NestingError:
        return Outcome(response, None)  # a whole answer that no parser reads: kept as it is, not bought again
    except ValueError as error:
        invalid = InvalidResponseError(
            f"HTTP {status}: the body is {'empty' if not response.body.strip() else 'no JSON'} ({error})"[:300],
            hint="the server may be overloaded, or model.base_url may point to a web page",
            http_status=status,
        )
        return Outcome(response, invalid)
    try:
        problem = error_in_body(value) or endpoint.find_problem(value)
        return Outcome(response, problem, count_tokens(value))
    except Exception:  # noqa: BLE001 - a bug here must not send a paid answer again; sealing reads the bytes later
        return Outcome(response, None)


def attempt_of(request: Request, number: int, outcome: Outcome, started_at: float, latency_s: float) -> Attempt:
    """Describe an attempt for the journal; times are the caller's where no response has its own."""
    response, error = outcome.response, outcome.error
    return Attempt(
        request_key=request.key,
        number=number,
        n_samples=len(request.cases),
        started_at=response.started_at if response else started_at,
        latency_s=response.latency_s if response else latency_s,
        http_status=response.http_status if response else None,
        error_kind=kind_of(type(error)) if error else None,
        retry_after_s=error.retry_after_s if error else None,
        request_id=request_id(response.headers) if response else None,
    )


def failure_of(error: RequestError) -> Failure:
    """Return the recorded form of an error."""
    return Failure(kind_of(type(error)), error.message, error.http_status)
