"""Owns putting a reply on the wire: whole, or the way a broken server, proxy or network would.

The ledger learns each step from here, right when it happens.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runner.simulate.details import FaultDetails
    from runner.simulate.ledger import Arrival
    from runner.simulate.replies import Reply


@dataclass(frozen=True, slots=True)
class Shipment:
    """One reply on its way: to which request, what, and whose ledger entry it is; `pace_s` between two events."""

    request: web.BaseRequest
    reply: Reply
    arrival: Arrival
    details: FaultDetails
    pace_s: float = 0.0


async def deliver(shipment: Shipment, manner: str | None) -> web.StreamResponse:
    """Send the reply in the manner of `DELIVERIES`, or simply whole. Raises ConnectionError if the client has gone."""
    return await (_as_it_is(shipment) if manner is None else MANNERS[manner](shipment))


async def _as_it_is(shipment: Shipment) -> web.StreamResponse:
    return await (_stream(shipment) if shipment.reply.events else _whole(shipment))


async def _whole(shipment: Shipment) -> web.StreamResponse:
    reply = shipment.reply
    response = web.Response(status=reply.status, body=reply.body, headers=reply.headers)
    await response.prepare(shipment.request)
    _open_transport(shipment.request)
    shipment.arrival.begin(reply.status)
    shipment.arrival.finishing()
    await response.write_eof()
    shipment.arrival.finished()
    return response


async def _reset(shipment: Shipment) -> web.StreamResponse:
    """End with a TCP reset: lingering for no time makes the kernel send one."""
    transport = _open_transport(shipment.request)
    listed = transport.get_extra_info("socket")
    with socket.fromfd(listed.fileno(), listed.family, listed.type) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return web.Response()


async def _disconnect(shipment: Shipment) -> web.StreamResponse:
    _open_transport(shipment.request).close()
    return web.Response()


async def _cut(shipment: Shipment) -> web.StreamResponse:
    """Promise a Content-Length, send half of it, close."""
    response = _unsent(shipment.reply)
    response.content_length = len(shipment.reply.body)
    await _begin(shipment, response)
    return await _half_and_close(shipment, response)


async def _cut_chunked(shipment: Shipment) -> web.StreamResponse:
    """Send half as chunks and close without the last, empty chunk."""
    response = _unsent(shipment.reply)
    response.enable_chunked_encoding()
    await _begin(shipment, response)
    return await _half_and_close(shipment, response)


async def _hang(_shipment: Shipment) -> web.StreamResponse:
    never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
    return await never


async def _stall(shipment: Shipment) -> web.StreamResponse:
    """Answer as if nothing was, but late."""
    await asyncio.sleep(shipment.details.stall_s)
    return await _as_it_is(shipment)


async def _drip(shipment: Shipment) -> web.StreamResponse:
    body, step = shipment.reply.body, shipment.details.drip_bytes
    response = _unsent(shipment.reply)
    response.content_length = len(body)
    await _begin(shipment, response)
    last = max(0, len(body) - 1) // step * step
    for start in range(0, last, step):
        await response.write(body[start : start + step])
        await asyncio.sleep(shipment.details.drip_interval_s)
    _open_transport(shipment.request)
    shipment.arrival.finishing()
    await response.write_eof(body[last:])
    shipment.arrival.finished()
    return response


async def _stream(shipment: Shipment) -> web.StreamResponse:
    """Send event after event, as chunks."""
    response = await _all_but_the_end(shipment)
    await response.write_eof()
    shipment.arrival.finished()
    return response


async def _stream_cut(shipment: Shipment) -> web.StreamResponse:
    """Close in the middle of a stream, without the last, empty chunk."""
    if not shipment.reply.events:
        return await _whole(shipment)
    await _half_the_events(shipment)
    _open_transport(shipment.request).close()
    return web.Response()


async def _stream_stall(shipment: Shipment) -> web.StreamResponse:
    """Say nothing more from the middle of a stream on."""
    if not shipment.reply.events:
        return await _whole(shipment)
    await _half_the_events(shipment)
    return await _hang(shipment)


async def _stream_open(shipment: Shipment) -> web.StreamResponse:
    """Send a whole stream, and never end it."""
    if not shipment.reply.events:
        return await _whole(shipment)
    await _all_but_the_end(shipment)
    shipment.arrival.finished()
    return await _hang(shipment)


async def _half_the_events(shipment: Shipment) -> None:
    response = _chunked(shipment)
    await _begin(shipment, response)
    for event in shipment.reply.events[: len(shipment.reply.events) // 2]:
        await response.write(event)


async def _all_but_the_end(shipment: Shipment) -> web.StreamResponse:
    response = _chunked(shipment)
    await _begin(shipment, response)
    events = shipment.reply.events
    for event in events[:-1]:
        await response.write(event)
        if shipment.pace_s > 0:
            await asyncio.sleep(shipment.pace_s)
    _open_transport(shipment.request)
    shipment.arrival.finishing()
    await response.write(events[-1])
    return response


async def _keepalive_close(shipment: Shipment) -> web.StreamResponse:
    """Promise to keep the connection, and close it after the answer."""
    response = await _whole(shipment)
    _open_transport(shipment.request).close()
    return response


async def _idle_close(shipment: Shipment) -> web.StreamResponse:
    """Keep the connection, and close it when the next request begins to arrive: the keep-alive race."""
    response = await _whole(shipment)
    transport = _open_transport(shipment.request)
    transport.set_protocol(_ClosesOnData(transport, transport.get_protocol()))
    return response


MANNERS: Mapping[str, Callable[[Shipment], Awaitable[web.StreamResponse]]] = MappingProxyType(
    {
        "reset": _reset,
        "disconnect": _disconnect,
        "cut": _cut,
        "cut_chunked": _cut_chunked,
        "hang": _hang,
        "stall": _stall,
        "drip": _drip,
        "keepalive_close": _keepalive_close,
        "idle_close": _idle_close,
        "stream_cut": _stream_cut,
        "stream_stall": _stream_stall,
        "stream_open": _stream_open,
    }
)


class _ClosesOnData(asyncio.Protocol):
    """Closes at the first byte; all else goes to the protocol it stands in for."""

    def __init__(self, transport: asyncio.Transport, original: asyncio.BaseProtocol) -> None:
        self._transport = transport
        self._original = original

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._original.connection_lost(exc)

    def pause_writing(self) -> None:
        self._original.pause_writing()

    def resume_writing(self) -> None:
        self._original.resume_writing()


def _chunked(shipment: Shipment) -> web.StreamResponse:
    response = _unsent(shipment.reply)
    response.enable_chunked_encoding()
    return response


def _unsent(reply: Reply) -> web.StreamResponse:
    return web.StreamResponse(status=reply.status, headers=reply.headers)


async def _begin(shipment: Shipment, response: web.StreamResponse) -> None:
    _open_transport(shipment.request)
    shipment.arrival.begin(shipment.reply.status)
    await response.prepare(shipment.request)


async def _half_and_close(shipment: Shipment, response: web.StreamResponse) -> web.StreamResponse:
    body = shipment.reply.body
    await response.write(body[: len(body) // 2])
    _open_transport(shipment.request).close()
    return response


def _open_transport(request: web.BaseRequest) -> asyncio.Transport:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("The client has gone.")
    return transport
