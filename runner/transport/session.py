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
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from runner.errors import BodyTooLargeError, RequestError, StaleConnectionError
from runner.jsontext import scrub
from runner.records import Response
from runner.redaction import Redactor
from runner.transport.translate import Timeouts, closed_without_answer, translate
from runner.transport.upload import Sending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

    from runner.transport.upload import Upload


# Below the 5 s after which uvicorn (vLLM, FastAPI) closes an idle connection, so that a POST seldom meets a dying one.
_KEEPALIVE_S = 4.0
_MAX_BODY_BYTES = 64 * 1024 * 1024
_KEPT_HEADERS = frozenset(
    {"retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "request-id", "apim-request-id", "location"}
)
_KEPT_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit")
_fresh: ContextVar[bool] = ContextVar("fresh", default=False)
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

    async def delete(self, path: str) -> Response:
        """Send one DELETE. Raises as `post` does."""
        return await self._send("DELETE", path, None)

    async def upload(self, path: str, upload: Upload) -> Response:
        """Send one POST with a file as multipart form, read from `upload` as it goes out.

        Raises as `post` does, and what reading the file raises.
        """
        sending = Sending(upload, self._options.timeouts)
        body = sending.body()
        try:
            return await self._send("POST", path, body, headers=sending.headers, timeout=sending.timeout)
        except RequestError as error:
            raise (sending.problem or error) from error
        finally:
            with contextlib.suppress(RuntimeError):  # aiohttp is reading it right now, and is about to be told to stop
                await body.aclose()

    async def _send(
        self, method: str, path: str, body: bytes | AsyncIterator[bytes] | None, **sending: Any
    ) -> Response:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self._options.base_url.rstrip("/") + path)
        started_at = time.time()
        begun = time.perf_counter()
        answer: aiohttp.ClientResponse | None = None
        fresh = _fresh.set(False)
        try:
            answer = await self._session.request(method, url, data=body, allow_redirects=False, **sending)
            content = await self._read(answer)
        except (
            TimeoutError,
            aiohttp.ClientError,
            ssl.SSLError,
            OSError,
            asyncio.IncompleteReadError,
            UnicodeError,
        ) as error:
            where = f"{url.origin()}{url.path}"
            if closed_without_answer(error) and answer is None and not _fresh.get():
                raise StaleConnectionError(
                    f"{where}: the server closed the kept-alive connection without an answer"
                ) from error
            raise translate(error, where, self._options.timeouts, self._redactor) from error
        finally:
            _fresh.reset(fresh)
            if answer is not None:
                answer.release()  # closes the connection unless all of the body was read
        return Response(
            http_status=answer.status,
            headers=self._kept(answer.raw_headers),
            body=self._redactor.body(content),
            started_at=started_at,
            latency_s=time.perf_counter() - begun,
        )

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

    def _kept(self, headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
        kept = {}
        for name, value in headers:
            own = _kept_name(name)
            if own is not None:
                kept[own] = self._redactor.text(scrub(value.decode("utf-8", "surrogateescape")))[:200]
        return kept


class _Connector(aiohttp.TCPConnector):
    """Notes for the current task that its connection is a new one; it costs nothing where a connection is reused."""

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> ResponseHandler:
        _fresh.set(True)
        return await super()._create_connection(req, traces, timeout)


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
def _kept_name(name: bytes) -> str | None:
    lower = name.decode("ascii", "replace").lower()
    return lower if lower in _KEPT_HEADERS or lower.startswith(_KEPT_PREFIXES) else None


def _too_large(cap: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the answer's body is larger than {cap:,} bytes")
