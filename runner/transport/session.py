"""Owns one aiohttp session for one server: one attempt in, a Response or a RequestError out.

aiohttp 3.14 behaviour relied on: the pool has no limit here, since its queue would count as time-out and the limiter
already bounds what is in flight; redirects are never followed, since aiohttp would send the key along; cookies are not
kept; a header line over 8,190 bytes is reported as ClientResponseError with status 400, which no server answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from runner.errors import BodyTooLargeError, StaleConnectionError
from runner.jsontext import scrub
from runner.records import Response
from runner.redaction import Redactor
from runner.transport.streaming import HEADERS, Body, Clock, Received, note_connected, timed
from runner.transport.translate import Timeouts, closed_without_answer, translate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from runner.errors import RequestError
    from runner.transport.streaming import StreamWatcher

# Below the 5 s after which uvicorn (vLLM, FastAPI) closes an idle connection, so that a POST seldom meets a dying one.
_KEEPALIVE_S = 4.0
_MAX_BODY_BYTES = 64 * 1024 * 1024
_KEPT_HEADERS = frozenset(
    {"retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "request-id", "apim-request-id", "location"}
)
_KEPT_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit")
_reused: ContextVar[bool] = ContextVar("reused", default=False)
_USED = "evalrunner used it before"
_FAILURES = (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError, asyncio.IncompleteReadError, UnicodeError)
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """Where to send and how. `api_key` goes into `Authorization: Bearer …` and nowhere else."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_body_bytes: int = _MAX_BODY_BYTES


class Transport:
    """Sends requests to one server. Every error is a RequestError whose message holds neither key nor URL query."""

    def __init__(self, session: aiohttp.ClientSession, options: TransportOptions, redactor: Redactor) -> None:
        self._session = session
        self._options = options
        self._redactor = redactor
        self._urls: dict[str, URL] = {}

    async def post(self, path: str, body: bytes) -> Response:
        """Send one POST with a JSON body and return whatever status comes back.

        Raises ConnectError, DisconnectError, RequestTimeoutError, BodyTooLargeError; and StaleConnectionError where a
        kept-alive connection closed before a byte of answer, which shows only when the next POST is written to it.
        """
        return await self._send("POST", path, body)

    async def get(self, path: str) -> Response:
        """Send one GET. Raises as `post` does."""
        return await self._send("GET", path, None)

    async def _send(self, method: str, path: str, body: bytes | None) -> Response:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self._options.base_url.rstrip("/") + path)
        started_at = time.time()
        begun = time.perf_counter()
        answered = False
        reused = _reused.set(False)
        try:
            async with self._session.request(method, url, data=body, allow_redirects=False) as answer:
                answered = True
                content = await self._read(answer)
        except _FAILURES as error:
            raise self._problem(error, url, answered=answered) from error
        finally:
            _reused.reset(reused)
        return Response(
            http_status=answer.status,
            headers=self._kept(answer.headers),
            body=self._redactor.body(content),
            started_at=started_at,
            latency_s=time.perf_counter() - begun,
        )

    async def stream(self, path: str, body: bytes, watcher: StreamWatcher) -> Received:
        """Send one POST whose answer is wanted as a stream, and show `watcher` each block of it.

        Raises as `post` does until the answer begins; then what came is returned, with the error that ended it.
        """
        url = URL(self._options.base_url.rstrip("/") + path)
        started_at = time.time()
        content = Body(time.perf_counter(), self._options.max_body_bytes)
        clock = Clock(self._options.timeouts)
        answer: aiohttp.ClientResponse | None = None
        broke: RequestError | None = None
        reused = _reused.set(False)
        try:
            with timed(clock):
                async with (
                    clock.timeout,
                    self._session.request("POST", url, data=body, headers=HEADERS, allow_redirects=False) as answer,
                ):
                    await content.read(answer, watcher, clock)
        except _FAILURES as error:
            if clock.timeout.expired():
                broke = clock.error(f"{url.origin()}{url.path}")
            else:
                broke = self._problem(error, url, answered=answer is not None)
            if answer is None or not content.blocks:
                raise broke from error
        finally:
            _reused.reset(reused)
        response = Response(
            http_status=answer.status,
            headers=self._kept(answer.headers),
            body=self._redactor.body(bytes(content.blocks)),
            started_at=started_at,
            latency_s=(content.ended_at if watcher.done else time.perf_counter()) - content.sent_at,
            first_token_s=content.first_token_s,
        )
        return Received(response, broke)

    def redact(self, value: bytes) -> bytes:
        """Return the bytes without the key; the same object when it is not in them."""
        return self._redactor.body(value)

    def _problem(self, error: Exception, url: URL, *, answered: bool) -> RequestError:
        where = f"{url.origin()}{url.path}"
        if closed_without_answer(error) and not answered and _reused.get():
            return StaleConnectionError(f"{where}: the server closed the kept-alive connection without an answer")
        return translate(error, where, self._options.timeouts, self._redactor)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        cap = self._options.max_body_bytes
        length = answer.content_length
        plain = "Content-Encoding" not in answer.headers
        if length is not None and length <= cap and plain:
            return await answer.read()
        if plain and length is not None:
            raise _too_large(cap)
        blocks, size = [], 0
        async for block in answer.content.iter_any():
            size += len(block)
            if size > cap:
                raise _too_large(cap)
            blocks.append(block)
        return b"".join(blocks)

    def _kept(self, headers: Mapping[str, str]) -> dict[str, str]:
        kept = {}
        for name, value in headers.items():
            own = _kept_name(name)
            if own is not None:
                kept[own] = self._redactor.text(scrub(value))[:200]
        return kept


class _Connector(aiohttp.TCPConnector):
    """Notes for the current task whether the connection it was given had been used before."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if connection.protocol is not None:
            state = vars(connection.protocol)
            _reused.set(_USED in state)
            state[_USED] = True
        note_connected()
        return connection


@contextlib.asynccontextmanager
async def open_transport(options: TransportOptions, redactor: Redactor | None = None) -> AsyncIterator[Transport]:
    """Open a session for one server and close it at the end, also when the caller is being cancelled."""
    redactor = redactor or Redactor([options.api_key] if options.api_key else [])
    headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip", "User-Agent": "evalrunner"}
    headers.update(options.headers)
    if options.api_key:
        headers["Authorization"] = f"Bearer {options.api_key}"
    timeouts = options.timeouts
    session = aiohttp.ClientSession(
        connector=_Connector(limit=0, ttl_dns_cache=300, keepalive_timeout=_KEEPALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=timeouts.total, sock_connect=timeouts.connect),
    )
    try:
        yield Transport(session, options, redactor)
    finally:
        await asyncio.shield(session.close())


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the server's own id of a request, from the kept headers."""
    return next((headers[name] for name in _REQUEST_IDS if name in headers), None)


@functools.lru_cache(maxsize=1024)
def _kept_name(name: str) -> str | None:
    lower = name.lower()
    return lower if lower in _KEPT_HEADERS or lower.startswith(_KEPT_PREFIXES) else None


def _too_large(cap: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the answer's body is larger than {cap:,} bytes")
