"""Owns HTTP: the only place that knows aiohttp. Sends one request once; everything else decides elsewhere."""

from __future__ import annotations

from runner.transport.session import Transport, TransportOptions, open_transport, request_id
from runner.transport.translate import Timeouts
from runner.transport.upload import Upload

__all__ = ["Timeouts", "Transport", "TransportOptions", "Upload", "open_transport", "request_id"]
