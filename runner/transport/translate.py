"""Owns what aiohttp's exceptions mean: the one place where they become errors of this package.

No message is built from an exception that may hold the key (a ClientResponseError's `repr` holds request headers), and
none names a URL's query.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from runner.errors import ConnectError, DisconnectError, RequestTimeoutError

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.redaction import Redactor


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: `connect` bounds opening a connection, `total` the whole attempt.

    `first_byte` and `idle` bound the wait for the first byte and between two bytes of a streamed answer.
    """

    connect: float = 10.0
    first_byte: float = 120.0
    idle: float = 120.0
    total: float = 600.0


def translate(error: Exception, where: str, timeouts: Timeouts, redactor: Redactor) -> RequestError:
    """Return the error that an exception of aiohttp or of the operating system stands for. `where` is host and path."""
    connect = _connect_problem(error, timeouts)
    if connect is not None:
        return ConnectError(f"{where}: {redactor.text(connect[0])}", hint=connect[1])
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(
            f"{where}: no complete answer within {timeouts.total:g} s", hint="request.timeout_s.total sets the wait"
        )
    return DisconnectError(f"{where}: {redactor.text(_disconnect_problem(error))}")


def closed_without_answer(error: BaseException | None) -> bool:
    """Say whether the server closed the connection before a single byte of its answer."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return isinstance(error.message, str)  # otherwise it is the head of an answer that had begun
    if isinstance(error, ConnectionResetError) or isinstance(error.__cause__ if error else None, ConnectionResetError):
        return True
    return isinstance(error, OSError) and error.errno in {errno.ECONNRESET, errno.EPIPE}


def _connect_problem(error: Exception, timeouts: Timeouts) -> tuple[str, str] | None:
    """Return problem and hint where no connection was made, so that nothing can have been sent."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        hint = "is the server up and model.base_url right? request.timeout_s.connect sets the wait"
        return f"no connection within {timeouts.connect:g} s", hint
    if isinstance(error, aiohttp.ClientConnectorDNSError | UnicodeError):
        return "the host name cannot be resolved", "check model.base_url"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return (
            f"TLS failed: {_reason(error)}",
            "check the server's certificate, and https against http in model.base_url",
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or _reason(error)
        return f"cannot connect: {reason}", "is the server running, and model.base_url right?"
    return None


def _disconnect_problem(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer's headers cannot be read: {error.message}"[:300]
    if closed_without_answer(error):
        return "the server closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError | asyncio.IncompleteReadError):
        return "the answer's body was cut"
    return f"the connection broke: {_reason(error)}"


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
