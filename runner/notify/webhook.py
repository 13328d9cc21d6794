"""Owns one webhook's delivery: a JSON POST, sent again while that helps, and no word of its address in any error."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

import anyio
from yarl import URL

from runner.errors import BodyTooLargeError, ConnectError, RedirectError, RequestError, RequestTimeoutError
from runner.notify.plain import one_line
from runner.redaction import Redactor
from runner.retry import History, Retry, RetryPolicy, classify_status, decide
from runner.transport import Auth, Timeouts, TransportOptions, open_transport

if TYPE_CHECKING:
    from runner.records import Response
    from runner.transport import Transport

# Nothing after a night needs an answer within the second; what a receiver says is of no use beyond its status.
POLICY = RetryPolicy(max_attempts=5, max_timeouts=4, first_wait_s=1.0, max_wait_s=15.0, deadline_s=50.0)
TIMEOUTS = Timeouts(connect=5.0, total=10.0)
_MOST_ANSWER_BYTES = 64 * 1024
_LONGEST_ERROR = 200
_NO_KEY = Auth(kind="none")


@dataclass(slots=True)
class Course:
    """How far a delivery came; it is filled in as it goes, so that one that is cut off can still be told."""

    attempts: int = 0
    error: str = ""


async def post_webhook(
    address: str, body: bytes, course: Course, *, policy: RetryPolicy = POLICY, timeouts: Timeouts = TIMEOUTS
) -> bool:
    """Send `body` to a webhook until it is taken or trying again is no use; say which.

    Time-outs, broken connections, 429, 5xx are sent again, at most `policy.max_attempts` times in all, after a drawn
    wait or the server's own `Retry-After`; where that ends after the deadline, or the receiver refuses (4xx, a
    redirect), no more.
    """
    origin, path = _split(address)
    redactor = Redactor(secrets_of(address))
    options = TransportOptions(origin, timeouts=timeouts, max_body_bytes=_MOST_ANSWER_BYTES, auth=_NO_KEY)
    history = History(first_sent_at=time.monotonic())
    async with open_transport(options, redactor) as transport:
        while True:
            course.attempts += 1
            error = await _try(transport, path, body)
            if error is None:
                return True
            course.error = _told(error, address, redactor)
            chance = random.random()  # noqa: S311 - jitter
            decision = decide(error, history, policy, now=time.monotonic(), random=chance)
            if not isinstance(decision, Retry) or course.attempts >= policy.max_attempts:
                return False
            history = decision.history
            await anyio.sleep(decision.wait_s)


def secrets_of(address: str) -> list[str]:
    """Return what must not come back of an address: all of it, and each part of it that may be a token."""
    parts = urlsplit(address)
    whole = [
        address,
        parts.path,
        parts.query,
        f"{parts.path}?{parts.query}",
        parts.password or "",
        parts.username or "",
    ]
    pieces = re.split(r"[/?&=;,:@\s]+", f"{parts.path}/{parts.query}/{parts.fragment}")
    return [form for one in (*whole, *pieces) for form in (one, unquote(one))]


async def _try(transport: Transport, path: str, body: bytes) -> RequestError | None:
    try:
        response = await transport.send("POST", path, body)
    except BodyTooLargeError:
        # Its status is not known any more; not sent again, since it may well have been taken.
        return BodyTooLargeError(f"the answer is larger than {_MOST_ANSWER_BYTES:,} bytes; it may have been delivered")
    except RequestError as error:
        return error
    return _refused(response)


def _refused(response: Response) -> RequestError | None:
    # By the status alone: the texts that a model server's error may hold mean nothing here.
    refused = classify_status(response.http_status, response.headers, b"", answered_before=False, now=datetime.now(UTC))
    if refused is None:
        return None
    if isinstance(refused, RedirectError):
        said = "a redirect, which is not followed"
    else:
        said = one_line(response.body[:1000].decode("utf-8", "replace"), _LONGEST_ERROR)
    message = f"HTTP {response.http_status}" + (f": {said}" if said else "")
    return type(refused)(message, http_status=response.http_status, retry_after_s=refused.retry_after_s)


def _split(address: str) -> tuple[str, str]:
    """Return where to connect (with user and password, if any) and the path with its query, just as it was given."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}", urlunsplit(("", "", parts.path or "/", parts.query, ""))


def _told(error: RequestError, address: str, redactor: Redactor) -> str:
    """Return what went wrong, without the place that the transport's own errors begin with."""
    url = URL(address)
    text = error.message.replace(f"{url.origin()}{url.path}: ", "").replace(f"{url.origin()}", "the receiver")
    if isinstance(error, ConnectError):
        text = f"not connected: {text}"
    if isinstance(error, RequestTimeoutError) and error.http_status is None:
        text = "no answer in time"
    return one_line(redactor.text(text), _LONGEST_ERROR)
