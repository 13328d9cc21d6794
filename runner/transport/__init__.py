"""Owns HTTP: the only place that knows aiohttp. Sends one request once; everything else decides elsewhere."""

from __future__ import annotations

from runner.transport.auth import Auth, secrets_of
from runner.transport.session import Transport, TransportOptions, open_transport, request_id
from runner.transport.streaming import Received, StreamWatcher
from runner.transport.translate import Timeouts
from runner.transport.upload import Upload

__all__ = [
    "Auth",
    "Received",
    "StreamWatcher",
    "Timeouts",
    "Transport",
    "TransportOptions",
    "Upload",
    "open_transport",
    "request_id",
    "secrets_of",
]
