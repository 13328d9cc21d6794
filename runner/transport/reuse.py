"""Owns the short way of a small POST: over a connection that is open already, past aiohttp's session.

The session does much for each request that a run of a million alike has no use for: it merges headers, looks for
cookies, proxies and redirects, starts a timer, and writes the body in a task of its own. Here the head of a request is
made once for each URL, a request is one write, and one timer serves all requests under way. Connections, parser and
pool are aiohttp's own, and whatever is not plain (a new connection, a large body) goes the session's way.

Relies on parts of aiohttp that it does not promise, so only for the versions this was tested with: `supported` says so.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import hdrs
from aiohttp.helpers import TimerNoop
from aiohttp.http import HttpProcessingError
from aiohttp.http_writer import _serialize_headers

from runner.awake import awake_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.streams import StreamReader
    from multidict import CIMultiDictProxy
    from yarl import URL

_TESTED = frozenset({"3.14.3", "3.14.4", "3.14.5"})
# Above this a socket may take the body in pieces, and somebody has to wait for it.
_MOST_BODY_BYTES = 32 * 1024
# Of so many addresses heads are kept: paths may hold what differs by row.
MOST_URLS = 1024
_CONTINUE, _OK = 100, 200
_SWITCHING = 101
_NO_TIMER = TimerNoop()


def supported() -> bool:
    """Say whether this aiohttp is one that the short way is known to work with."""
    return aiohttp.__version__ in _TESTED


class Answer:
    """An answer that came over a connection out of the session's pool: its head, and its body as a stream.

    `sent_at` is when its request was written: UTC seconds, and those of `time.perf_counter`.
    """

    __slots__ = ("_deadlines", "_pool", "content", "headers", "protocol", "raw_headers", "sent_at", "status")

    status: int
    headers: CIMultiDictProxy[str]
    raw_headers: Sequence[tuple[bytes, bytes]]
    content: StreamReader

    def __init__(
        self,
        protocol: ResponseHandler,
        key: ConnectionKey,
        connector: aiohttp.BaseConnector,
        deadlines: _Deadlines,
    ) -> None:
        self.protocol = protocol
        self.sent_at = (0.0, 0.0)
        self._pool = (connector, key)
        self._deadlines = deadlines

    def whole(self, most_bytes: int) -> bytes | None:
        """Take the body where all of it is there already and no larger than that; else it has to be read."""
        content = self.content
        paused = self.protocol._reading_paused  # noqa: SLF001 - see above
        if paused or not content.is_eof() or content.total_bytes > most_bytes:
            return None
        if not content.total_bytes:
            return b""
        # Nothing was read before, and what was never paused need not be let go on: the parts are all there is to it.
        parts = content._buffer  # noqa: SLF001 - see above
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()  # an idle connection keeps its last answer's stream
        return body

    def close(self, *, broken: bool = False) -> None:
        """Put the connection back into the pool; it is closed if it is broken, or not all of the body was read."""
        self._deadlines.drop(self.protocol)
        connector, key = self._pool
        connector._release(key, self.protocol, should_close=broken)  # noqa: SLF001 - see above


class Reuse:
    """Sends over idle connections of one session. `total_s` bounds each request from its sending to its last byte.

    Requests that are made in one turn of the event loop are written together at its end: a server that sleeps is woken
    once for all of them, and has the next one when it is through with one.
    """

    def __init__(
        self, session: aiohttp.ClientSession, connector: aiohttp.BaseConnector, total_s: float, keepalive_s: float
    ) -> None:
        self._session = session
        self._connector = connector
        self._keepalive_s = keepalive_s
        self._loop = asyncio.get_running_loop()
        self._heads: dict[URL, tuple[ConnectionKey, bytes]] = {}
        self._deadlines = _Deadlines(self._loop, total_s)
        self._unsent: list[tuple[Answer, bytes]] = []

    async def post(self, url: URL, body: bytes) -> Answer | None:
        """Send a POST and return the head of its answer; null, and nothing sent, where that needs the session.

        Raises what aiohttp raises, and TimeoutError, here or later where the body is read.
        """
        if len(body) > _MOST_BODY_BYTES:
            return None
        key, head = self._heads.get(url) or self._head(url)
        answer = self._take(key)
        if answer is None:
            return None
        protocol = answer.protocol
        try:
            protocol.set_response_params(timer=_NO_TIMER, read_until_eof=True)
            self._deadlines.begin(protocol)
            self._write_soon(answer, b"%b%d\r\n\r\n%b" % (head, len(body), body))
            message, content = await protocol.read()
            while _CONTINUE <= message.code < _OK and message.code != _SWITCHING:
                message, content = await protocol.read()
            if not answer.sent_at[1]:  # it cannot be an answer to this
                raise aiohttp.ServerDisconnectedError
            if not content.is_eof():
                self._deadlines.reading(protocol, content)
        except BaseException as error:
            answer.close(broken=True)
            if isinstance(error, HttpProcessingError):
                info = self._request(url).request_info
                raise aiohttp.ClientResponseError(info, (), status=error.code, message=error.message) from error
            raise
        answer.status, answer.content = message.code, content
        answer.headers, answer.raw_headers = message.headers, message.raw_headers
        return answer

    def close(self) -> None:
        """Stop the timer."""
        self._deadlines.close()

    def _take(self, key: ConnectionKey) -> Answer | None:
        """Take an idle connection out of the pool, as aiohttp does: the one that was idle longest.

        One over which the server has said something unasked is closed: that would be taken for the next answer.
        """
        connector = self._connector
        pool = connector._conns  # noqa: SLF001 - see above
        if key not in pool:
            return None
        idle, oldest = pool[key], time.monotonic() - self._keepalive_s
        answer = None
        while idle and answer is None:
            protocol, since = idle.popleft()
            if since >= oldest and protocol.is_connected() and not protocol.should_close:
                connector._acquired.add(protocol)  # noqa: SLF001 - see above
                answer = Answer(protocol, key, connector, self._deadlines)
            else:
                protocol.close()
        if not idle:
            del pool[key]
        return answer

    def _write_soon(self, answer: Answer, request: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._write_all)
        self._unsent.append((answer, request))

    def _write_all(self) -> None:
        unsent, self._unsent = self._unsent, []
        for answer, request in unsent:
            wire = answer.protocol.transport
            # One that was closed meanwhile has told whoever waits for its answer.
            if wire is not None and not wire.is_closing():
                answer.sent_at = (time.time(), time.perf_counter())
                try:
                    wire.write(request)
                except Exception as error:  # noqa: BLE001 - the others are still to be written
                    answer.protocol.set_exception(aiohttp.ClientOSError(f"cannot write: {error}"), error)

    def _head(self, url: URL) -> tuple[ConnectionKey, bytes]:
        request = self._request(url)
        headers = request.headers.copy()
        headers.popall(hdrs.CONTENT_LENGTH, None)
        lines = _serialize_headers(f"POST {url.raw_path_qs} HTTP/1.1", headers)
        if len(self._heads) >= MOST_URLS:
            self._heads.clear()
        made = (request.connection_key, lines.removesuffix(b"\r\n") + b"Content-Length: ")
        self._heads[url] = made
        return made

    def _request(self, url: URL) -> aiohttp.ClientRequest:
        """Return a request as the session makes it, for its headers and its place in the pool."""
        return aiohttp.ClientRequest(
            "POST", url, headers=self._session.headers, data=b"{}", loop=self._loop, session=self._session
        )


class _Deadlines:
    """The deadlines of all requests under way, by connection. They come in order, since each has the same time.

    They count by `awake`: an answer that came while the process was stopped is read, and not given up.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, total_s: float) -> None:
        self._loop = loop
        self._total_s = total_s
        self._due: dict[ResponseHandler, tuple[float, StreamReader | None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, protocol: ResponseHandler) -> None:
        self._due[protocol] = (awake_s() + self._total_s, None)
        if self._timer is None:
            self._timer = self._loop.call_later(self._total_s, self._expire)

    def reading(self, protocol: ResponseHandler, content: StreamReader) -> None:
        due = self._due.get(protocol)
        if due is None:  # it came in the instant in which it was too late
            raise TimeoutError
        self._due[protocol] = (due[0], content)

    def drop(self, protocol: ResponseHandler) -> None:
        self._due.pop(protocol, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        """Wake who waits for an answer that is too late, and set the timer for the next."""
        self._timer = None
        for protocol, (at, content) in list(self._due.items()):
            left_s = at - awake_s()
            if left_s > 0.0:
                self._timer = self._loop.call_later(left_s, self._expire)
                return
            self.drop(protocol)
            late = TimeoutError()
            protocol.set_exception(late)
            if content is not None:
                content.set_exception(late)
