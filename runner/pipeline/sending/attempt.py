"""Owns one attempt: send, judge, and say what became of it. No waiting besides the send; no retries here."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runner.endpoints import is_event_stream
from runner.errors import InvalidResponseError, RequestError, kind_of
from runner.jsontext import NestingError, dumps, loads
from runner.records import Attempt, Failure, Usage, value
from runner.retry import classify_status, error_in_body
from runner.transport import request_id

if TYPE_CHECKING:
    from runner.endpoints import Endpoint, Streamed, StreamShape
    from runner.records import Request, Response
    from runner.transport import Transport

_OK, _MULTIPLE_CHOICES = 200, 300
_NO_USAGE = Usage()


@value
class Sent:
    """A request that went out: the number of the attempt, when (UTC seconds), and to which server."""

    number: int
    at: float
    server: str


@value
class Outcome:
    """What one attempt brought: a response, or an error, or an error with the response that holds it.

    `usage` is the server's own count, with nulls where it stated none. `so_far` is that of the parts of an answer which
    came before an error and are not asked for again.
    """

    response: Response | None
    error: RequestError | None
    usage: Usage = _NO_USAGE
    so_far: Usage | None = None


async def send(transport: Transport, endpoint: Endpoint, request: Request, *, answered_before: bool) -> Outcome:
    """Send a request once and judge what came back."""
    if request.stream and endpoint.stream is not None:
        return await _send_streamed(transport, endpoint, endpoint.stream, request, answered_before=answered_before)
    try:
        response = await transport.post(request.path, request.body)
    except RequestError as error:
        return Outcome(None, error)
    if is_event_stream(response.body) and endpoint.stream is not None:  # though nobody asked for one
        with contextlib.suppress(Exception):  # what cannot be assembled is judged as any other body
            streamed = endpoint.stream.assemble(response.body)
            if streamed.finished and _is_success(response):
                return _judge_stream(transport, endpoint, response, streamed)
    return judge(endpoint, response, answered_before=answered_before)


async def _send_streamed(
    transport: Transport, endpoint: Endpoint, shape: StreamShape, request: Request, *, answered_before: bool
) -> Outcome:
    watcher = shape.open()
    try:
        received = await transport.stream(request.path, request.body, watcher)
    except RequestError as error:
        return Outcome(None, error)
    response, broke = received.response, received.broke
    if not (_is_success(response) and is_event_stream(response.body)):  # an error, or a server that does not stream
        return Outcome(None, broke) if broke else judge(endpoint, response, answered_before=answered_before)
    try:
        streamed = watcher.end()
        if broke is not None and not streamed.done:
            streamed = replace(streamed, problem=broke)
        return _judge_stream(transport, endpoint, response, streamed)
    except Exception:  # noqa: BLE001 - as in `judge`: what came whole and cannot be read was paid for
        return Outcome(response, None if watcher.done else broke)


def _judge_stream(transport: Transport, endpoint: Endpoint, response: Response, streamed: Streamed) -> Outcome:
    response, streamed = _without_key(transport, endpoint, response, streamed)
    value = streamed.value
    found = (endpoint.error_in_body or error_in_body)(value)
    error = found or streamed.problem or endpoint.find_problem(value)
    return Outcome(response, error, endpoint.count_tokens(value))


def _without_key(
    transport: Transport, endpoint: Endpoint, response: Response, streamed: Streamed
) -> tuple[Response, Streamed]:
    """Keep out a key that a server says piece by piece, so that it stands whole in the assembled answer alone."""
    said = _said(streamed)
    if transport.redact(said) is said:
        return response, streamed
    if endpoint.stream is not None:
        # Where the key stood in one piece, the transport has cut it out of the body already.
        again = endpoint.stream.assemble(response.body)
        said = _said(again)
        streamed = replace(streamed, value=again.value)
    if transport.redact(said) is said:
        return response, streamed
    clean = transport.redact((dumps(streamed.value) or "").encode())
    return replace(response, body=clean), replace(streamed, value=loads(clean)[0])


def _said(streamed: Streamed) -> bytes:
    """Return all texts of a stream, put together, as they would stand in a file."""
    return "\n".join((dumps(streamed.value) or "", *streamed.spoken)).encode("utf-8", "replace")


def judge(endpoint: Endpoint, response: Response, *, answered_before: bool) -> Outcome:
    """Say whether a response is an answer. What cannot be judged is kept as one: it was paid for."""
    status = response.http_status
    if not _is_success(response):
        now = datetime.now(UTC)
        error = classify_status(status, response.headers, response.body, answered_before=answered_before, now=now)
        if error is not None and endpoint.refine is not None:
            error = endpoint.refine(error, response.body)
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
        problem = (endpoint.error_in_body or error_in_body)(value) or endpoint.find_problem(value)
        return Outcome(response, problem, endpoint.count_tokens(value))
    except Exception:  # noqa: BLE001 - a bug here must not send a paid answer again; sealing reads the bytes later
        return Outcome(response, None)


def _is_success(response: Response) -> bool:
    return _OK <= response.http_status < _MULTIPLE_CHOICES


def attempt_of(request: Request, sent: Sent, outcome: Outcome, latency_s: float) -> Attempt:
    """Describe an attempt for the journal; times are the caller's where no response has its own."""
    response, error = outcome.response, outcome.error
    if response is not None and error is None:
        status, own_id = response.http_status, request_id(response.headers)
        began, took, cases = response.started_at, response.latency_s, len(request.cases)
        return Attempt(request.key, sent.number, cases, began, took, status, None, None, own_id, server=sent.server)
    return Attempt(
        request_key=request.key,
        number=sent.number,
        n_samples=len(request.cases),
        started_at=response.started_at if response else sent.at,
        latency_s=response.latency_s if response else latency_s,
        http_status=response.http_status if response else None,
        error_kind=kind_of(type(error)) if error else None,
        retry_after_s=error.retry_after_s if error else None,
        request_id=request_id(response.headers) if response else None,
        server=sent.server,
    )


def failure_of(error: RequestError) -> Failure:
    """Return the recorded form of an error."""
    return Failure(kind_of(type(error)), error.message, error.http_status, error.final)
