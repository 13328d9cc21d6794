"""Owns one aiohttp session for one server: one attempt in, a Response or a RequestError out.

aiohttp 3.14 behaviour relied on: the pool has no limit here, since its queue would count as time-out and the limiter
already bounds what is in flight; redirects are never followed, since aiohttp would send the key along; cookies are not
kept; a header line over 8,190 bytes is reported as ClientResponseError with status 400, which no server answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import ssl
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from runner.errors import BodyTooLargeError, RequestError, StaleConnectionError
from runner.jsontext import scrub
from runner.records import Response
from runner.redaction import Redactor
from runner.transport.auth import BEARER, auth_headers, auth_query, query_of, secrets_of
from runner.transport.patience import Patience
from runner.transport.reuse import MOST_URLS, Reuse, supported
from runner.transport.streaming import HEADERS, Body, Clock, Received, note_connected, note_connecting, timed
from runner.transport.translate import Timeouts, closed_without_answer, translate
from runner.transport.upload import Sending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from runner.transport.auth import Auth
    from runner.transport.reuse import Answer
    from runner.transport.streaming import StreamWatcher
    from runner.transport.upload import Upload


# Below the 5 s after which uvicorn (vLLM, FastAPI) closes an idle connection, so that a POST seldom meets a dying one.
_KEEPALIVE_S = 4.0
_MAX_BODY_BYTES = 64 * 1024 * 1024
# aiohttp writes bytes at once, which holds up everything else for a large body, and warns of it from here on.
_WHOLE_BODY_BYTES = 1 << 20
_KEPT_HEADERS = frozenset(
    {"retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "request-id", "apim-request-id", "location"}
)
_KEPT_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit")
_fresh: ContextVar[bool] = ContextVar("fresh", default=False)
_FAILURES = (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError, asyncio.IncompleteReadError, UnicodeError)
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """Where to send and how. `api_key` goes where `auth` says, by default `Authorization: Bearer …`, and nowhere else.

    With the method GET a body is sent as query parameters.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_body_bytes: int = _MAX_BODY_BYTES
    method: str = "POST"
    auth: Auth = BEARER


class Transport:
    """Sends requests to one server. Every error is a RequestError whose message holds neither key nor URL query."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        options: TransportOptions,
        redactor: Redactor,
        reuse: Reuse | None = None,
    ) -> None:
        self._session = session
        self._options = options
        self._redactor = redactor
        self._reuse = reuse if options.method == "POST" else None
        self._urls: dict[str, URL] = {}

    async def post(self, path: str, body: bytes) -> Response:
        """Send one POST (or the options' method) with a JSON body and return whatever status comes back.

        Raises ConnectError, DisconnectError, RequestTimeoutError, BodyTooLargeError; and StaleConnectionError where a
        kept-alive connection closed before a byte of answer, which shows only when the next POST is written to it.
        """
        if self._reuse is None:
            return await self._send(self._options.method, path, body)
        url = self._known_url(path)
        answer: Answer | None = None
        content: bytes | None = None
        try:
            answer = await self._reuse.post(url, body)
            if answer is not None:
                content = answer.whole(self._options.max_body_bytes)
                if content is None:
                    content = await self._read(answer)
        except _FAILURES as error:
            raise self._problem(error, url, answered=answer is not None) from error
        finally:
            if answer is not None:
                answer.close()
        if answer is not None and content is not None:
            return self._response(answer, content, *answer.sent_at)
        return await self._send(self._options.method, path, body)  # no connection is open, or the body is large

    async def get(self, path: str) -> Response:
        """Send one GET. Raises as `post` does."""
        return await self._send("GET", path, None)

    async def delete(self, path: str) -> Response:
        """Send one DELETE. Raises as `post` does."""
        return await self._send("DELETE", path, None)

    async def send(self, method: str, path: str, body: bytes | None) -> Response:
        """Send one request with any method, and a JSON body if there is one. Raises as `post` does."""
        return await self._send(method, path, body)

    async def upload(self, path: str, upload: Upload, method: str = "POST") -> Response:
        """Send one POST (or another method) with a file as multipart form, read from `upload` as it goes out.

        Raises as `post` does, and what reading the file raises.
        """
        sending = Sending(upload, self._options.timeouts)
        body = sending.body()
        try:
            return await self._send(method, path, body, headers=sending.headers, total_s=sending.total_s)
        except RequestError as error:
            raise (sending.problem or error) from error
        finally:
            with contextlib.suppress(RuntimeError):  # aiohttp is reading it right now, and is about to be told to stop
                await body.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes] | None,
        *,
        headers: Mapping[str, str] | None = None,
        total_s: float | None = None,
    ) -> Response:
        url = self._known_url(path)
        if isinstance(body, bytes) and method == "GET":
            url, body = url.extend_query(query_of(body)), None
        started_at = time.time()
        begun = time.perf_counter()
        answer: aiohttp.ClientResponse | None = None
        fresh = _fresh.set(False)
        try:
            async with Patience() as patience:
                patience.expect(self._options.timeouts.total if total_s is None else total_s)
                answer = await self._session.request(
                    method, url, data=_in_pieces(body), allow_redirects=False, headers=headers
                )
                content = await self._read(answer)
        except _FAILURES as error:
            raise self._problem(error, url, answered=answer is not None) from error
        finally:
            _fresh.reset(fresh)
            if answer is not None:
                answer.release()  # closes the connection unless all of the body was read
        return self._response(answer, content, started_at, begun)

    def _response(
        self, answer: aiohttp.ClientResponse | Answer, content: bytes, started_at: float, begun: float
    ) -> Response:
        return Response(
            http_status=answer.status,
            headers=self._kept(answer.raw_headers),
            body=self._redactor.body(content),
            started_at=started_at,
            latency_s=time.perf_counter() - begun,
        )

    def _known_url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= MOST_URLS:  # paths may hold what differs by row
                self._urls.clear()
            url = self._urls[path] = self._url(path)
        return url

    def _url(self, path: str) -> URL:
        url = URL(self._options.base_url.rstrip("/") + path)
        in_query = auth_query(self._options.auth, self._options.api_key)
        return url.update_query(in_query) if in_query else url

    async def stream(self, path: str, body: bytes, watcher: StreamWatcher) -> Received:
        """Send one POST whose answer is wanted as a stream, and show `watcher` each block of it.

        Raises as `post` does until the answer begins; then what came is returned, with the error that ended it.
        """
        url = self._url(path)
        started_at = time.time()
        content = Body(time.perf_counter(), self._options.max_body_bytes)
        clock = Clock(self._options.timeouts)
        answer: aiohttp.ClientResponse | None = None
        broke: RequestError | None = None
        fresh = _fresh.set(False)
        try:
            with timed(clock):
                async with Patience() as patience, clock:
                    patience.expect(self._options.timeouts.total)
                    answer = await self._session.request("POST", url, data=body, headers=HEADERS, allow_redirects=False)
                    await content.read(answer, watcher, clock)
        except _FAILURES as error:
            if clock.patience.expired():
                broke = clock.error(f"{url.origin()}{url.path}")
            else:
                broke = self._problem(error, url, answered=answer is not None)
            if answer is None or not content.blocks:
                raise broke from error
        finally:
            _fresh.reset(fresh)
            if answer is not None:
                answer.release()
        response = Response(
            http_status=answer.status,
            headers=self._kept(answer.raw_headers),
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
        if closed_without_answer(error) and not answered and not _fresh.get():
            return StaleConnectionError(f"{where}: the server closed the kept-alive connection without an answer")
        return translate(error, where, self._options.timeouts, self._redactor)

    async def _read(self, answer: aiohttp.ClientResponse | Answer) -> bytes:
        cap = self._options.max_body_bytes
        stated = answer.headers.get("Content-Length")
        length = int(stated) if stated and stated.isdecimal() else None
        plain = "Content-Encoding" not in answer.headers
        if length is not None and length <= cap and plain:
            return await answer.content.read()
        if plain and length is not None:
            raise _too_large(cap)
        blocks, size = [], 0
        async for block in answer.content.iter_any():
            size += len(block)
            if size > cap:
                raise _too_large(cap)
            blocks.append(block)
        return b"".join(blocks)

    def _kept(self, headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
        kept = {}
        for name, value in headers:
            own = _kept_name(name)
            if own is not None:
                kept[own] = self._redactor.text(scrub(value.decode("utf-8", "surrogateescape")))[:200]
        return kept


class _Connector(aiohttp.TCPConnector):
    """Notes for the current task that its connection is a new one; it costs nothing where a connection is reused.

    A connection over which the server has said something unasked is not used again: aiohttp would take that for the
    answer to the next request.
    """

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                break
            connection.close()
        return connection

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> ResponseHandler:
        _fresh.set(True)
        note_connecting()
        handler = await super()._create_connection(req, traces, timeout)
        note_connected()
        return handler


@contextlib.asynccontextmanager
async def open_transport(options: TransportOptions, redactor: Redactor | None = None) -> AsyncIterator[Transport]:
    """Open a session for one server and close it at the end, also when the caller is being cancelled."""
    redactor = redactor or Redactor(secrets_of(options.auth, options.api_key))
    headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip", "User-Agent": "evalrunner"}
    headers.update(options.headers)
    headers.update(auth_headers(options.auth, options.api_key))
    timeouts = options.timeouts
    connector = _Connector(limit=0, ttl_dns_cache=300, keepalive_timeout=_KEEPALIVE_S)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect),  # the rest is `patience`'s
    )
    reuse = Reuse(session, connector, timeouts.total, _KEEPALIVE_S) if supported() else None
    try:
        yield Transport(session, options, redactor, reuse)
    finally:
        if reuse is not None:
            reuse.close()
        await asyncio.shield(session.close())


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the server's own id of a request, from the kept headers."""
    return next((headers[name] for name in _REQUEST_IDS if name in headers), None) if headers else None


@functools.lru_cache(maxsize=1024)
def _kept_name(name: bytes) -> str | None:
    lower = name.decode("ascii", "replace").lower()
    return lower if lower in _KEPT_HEADERS or lower.startswith(_KEPT_PREFIXES) else None


def _in_pieces(body: bytes | AsyncIterator[bytes] | None) -> bytes | io.BytesIO | AsyncIterator[bytes] | None:
    return io.BytesIO(body) if isinstance(body, bytes) and len(body) > _WHOLE_BODY_BYTES else body


def _too_large(cap: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the answer's body is larger than {cap:,} bytes")
