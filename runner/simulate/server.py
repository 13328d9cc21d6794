"""Owns the HTTP server: sockets, paths, and ending at once; what a request gets is decided in `judge`."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
from aiohttp import web

from runner.errors import UsageError
from runner.simulate.books import BOOKS
from runner.simulate.contentpaths import answer_content, is_content_path
from runner.simulate.contentstore import Content
from runner.simulate.delivery import Shipment, deliver
from runner.simulate.forms import FORMS
from runner.simulate.grounding import grounded
from runner.simulate.judge import Judge, Place, Verdict, delivery_of, open_envelope
from runner.simulate.ledger import Ledger
from runner.simulate.prompts import DEFAULT_MODEL, raw_digest
from runner.simulate.replies import body_too_large, json_reply, unknown_url, wrong_method

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from runner.simulate.forms import Reader
    from runner.simulate.ledger import Arrival, Statistics
    from runner.simulate.options import SimulatorOptions
    from runner.simulate.replies import Reply

_BACKLOG = 4096
_CLOSING_S = 5
# What the listener has accepted when it closes becomes a connection some turns of the loop later.
_TURNS_TO_ACCEPT = 8
_METHODS = {**dict.fromkeys(FORMS, "POST"), "/models": "GET"}
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound to


async def serve(options: SimulatorOptions, *, ready: Callable[[str], None]) -> None:
    """Serve until cancelled; `ready` is called once with the base URL. Raises UsageError, CannotCreateError."""
    async with open_simulator(options) as simulator:
        ready(simulator.base_url)
        await anyio.sleep_forever()


@asynccontextmanager
async def open_simulator(
    options: SimulatorOptions, *, now: Callable[[], float] = time.monotonic
) -> AsyncIterator[Simulator]:
    """Serve in this event loop (asyncio's) for the length of the context; `now` is the limits' clock, in seconds.

    Leaving closes every connection at once, hanging requests included.
    """
    ledger = Ledger(options.ledger_path, now)
    try:
        simulator = Simulator(options, ledger, Judge(options, now, time.time, ledger.rates))
        await simulator.listen()
        try:
            yield simulator
        finally:
            with anyio.move_on_after(_CLOSING_S, shield=True):
                await simulator.close()
    finally:
        ledger.close()


class Simulator:
    """A running server: `base_url` (ends in /v1), `ledger`, `content` and `statistics()`."""

    def __init__(self, options: SimulatorOptions, ledger: Ledger, judge: Judge) -> None:
        self._options = options
        self._judge = judge
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._listener: asyncio.Server | None = None
        self._server = web.Server(
            self._respond,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=options.keepalive_s,
        )
        self.ledger = ledger
        self.content = Content(options.content)
        self.base_url = ""

    def statistics(self) -> Statistics:
        """Return the ledger's totals."""
        return self.ledger.statistics()

    def change(self, options: SimulatorOptions) -> None:
        """Treat later requests by other options; address, prefix, keep-alive, content and ledger stay as they are.

        Limits start afresh with full buckets; arrival numbers and the quota's count go on.
        """
        self._options = replace(options, host=self._options.host, prefix=self._options.prefix)
        self._judge.change(options)
        self.content.rules = options.content

    async def listen(self) -> None:
        """Bind and accept. Raises UsageError if the address is taken or not this machine's."""
        host, port = self._options.host, self._options.port
        try:
            self._listener = await asyncio.get_running_loop().create_server(self._server, host, port, backlog=_BACKLOG)
        except OSError as error:
            raise UsageError(
                f"Cannot listen on {host}:{port}: {error.strerror}.", hint="port 0 takes a free one"
            ) from error
        bound = self._listener.sockets[0].getsockname()
        name = _ANYWHERE.get(bound[0], bound[0])
        self.base_url = f"http://{f'[{name}]' if ':' in name else name}:{bound[1]}{self._options.prefix}/v1"

    async def close(self) -> None:
        """Stop accepting, cancel every request, drop every connection, and wait until all of it is gone."""
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        turns = 0
        while turns < _TURNS_TO_ACCEPT or self._tasks or self._server.connections:  # aiohttp tells nobody of its last
            for connection in self._server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            turns += 1
            await asyncio.sleep(0)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=self._options.max_body_bytes
        )

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        with self._tracked():
            try:
                path = _route(request.path, self._options.prefix)
                if path in FORMS and request.method == "POST":
                    return await self._ask(request, grounded(self._reader(path), self.content))
                if is_content_path(path):
                    return _plain(await self._content_reply(request, path))
                return _plain(self._reply(request, path))
            except (ConnectionError, web.RequestPayloadError):
                # The client has gone; what is returned now goes nowhere.
                return web.Response()

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        task = asyncio.current_task()
        if task is None or self._closing:
            raise asyncio.CancelledError
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def _reply(self, request: web.BaseRequest, path: str) -> Reply:
        if request.path == "/healthz":
            return json_reply(200, {"status": "ok"})
        if request.path in BOOKS:
            return BOOKS[request.path](self.ledger, request.query)
        if path not in _METHODS:
            return unknown_url(request.method, request.path)
        if request.method != _METHODS[path]:
            return wrong_method(request.method, request.path)
        return self._judge.refuse_key(_key(request)) or self._models()

    def _reader(self, path: str) -> Reader:
        scores = self._options.language_model
        return scores.ask if scores is not None and path == "/completions" else FORMS[path]

    async def _content_reply(self, request: web.BaseRequest, path: str) -> Reply:
        return self._judge.refuse_key(_key(request)) or await answer_content(self.content, request, path)

    def _models(self) -> Reply:
        names = self._options.models or (DEFAULT_MODEL,)
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "evalrunner"} for name in names]
        return json_reply(200, {"object": "list", "data": models})

    async def _ask(self, request: web.BaseRequest, read: Reader) -> web.StreamResponse:
        try:
            envelope = open_envelope(await request.read(), _key(request), read)
        except web.HTTPRequestEntityTooLarge:
            with self.ledger.arrive(raw_digest(b"")) as arrival:
                return await self._send(request, Verdict(body_too_large(self._options.max_body_bytes)), arrival)
        with self.ledger.arrive(envelope.digest) as arrival:
            verdict = self._judge.judge(envelope, Place(arrival.number, self.ledger.in_flight))
            arrival.expect(verdict.fault, verdict.tokens)
            if verdict.delay_s > 0:
                await asyncio.sleep(verdict.delay_s)
            return await self._send(request, verdict, arrival)

    async def _send(self, request: web.BaseRequest, verdict: Verdict, arrival: Arrival) -> web.StreamResponse:
        shipment = Shipment(request, verdict.reply, arrival, self._options.fault_details, verdict.pace_s)
        return await deliver(shipment, delivery_of(verdict.fault))


def _route(path: str, prefix: str) -> str:
    """Return the path below `{prefix}/v1` or below `{prefix}`; the /v1 may be missing."""
    return path.removeprefix(prefix).removeprefix("/v1")


def _key(request: web.BaseRequest) -> str | None:
    """Return the key of `Authorization: Bearer …`, or of Azure's `api-key`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" and token else request.headers.get("api-key")


def _plain(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
