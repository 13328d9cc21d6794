"""Owns telling people about a night: what is said, how it reads, and getting it there without ever failing a night."""

from __future__ import annotations

from runner.notify.delivery import Delivery, deliver
from runner.notify.message import ConfigResult, Event, Flip, Gate, Message, Score
from runner.notify.payload import payload, payload_json_schema
from runner.notify.targets import Readiness, Target, readiness, targets_of
from runner.notify.text import render

__all__ = [
    "ConfigResult",
    "Delivery",
    "Event",
    "Flip",
    "Gate",
    "Message",
    "Readiness",
    "Score",
    "Target",
    "deliver",
    "payload",
    "payload_json_schema",
    "readiness",
    "render",
    "targets_of",
]
