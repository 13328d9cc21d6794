"""Owns API shapes: how a sample becomes a request body, and a response body becomes outputs. Pure; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.endpoints import chat
from runner.endpoints.chat_stream import CHAT_STREAM
from runner.endpoints.sse import is_event_stream
from runner.endpoints.stream_request import stream_body
from runner.endpoints.streaming import Streamed, StreamShape
from runner.endpoints.template import Template, compile_template
from runner.endpoints.usage import count_tokens, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.errors import RequestError
    from runner.records import Parsed

__all__ = [
    "CHAT_STREAM",
    "ENDPOINTS",
    "Endpoint",
    "StreamShape",
    "Streamed",
    "Template",
    "compile_template",
    "count_tokens",
    "is_event_stream",
    "read_usage",
    "stream_body",
]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API shape as plain functions.

    `path` is added to the base URL. `choices_wanted(body)` counts the answers a body asks for, `reserve_tokens(body,
    size_bytes)` estimates its tokens, `find_problem(body)` says why a 2xx body is no answer, and `parse(body bytes,
    cases, choices)` reads the outputs (it raises ValueError for what is none). `stream` assembles streamed answers into
    bodies of this shape; null where it has none.
    """

    name: str
    path: str
    choices_wanted: Callable[[dict[str, Any]], int]
    reserve_tokens: Callable[[dict[str, Any], int], int]
    find_problem: Callable[[Any], RequestError | None]
    parse: Callable[[bytes, int, int], Parsed]
    stream: StreamShape | None = None


# A new API shape is one module and one line here.
ENDPOINTS: dict[str, Endpoint] = {
    "chat": Endpoint(
        "chat",
        chat.PATH,
        chat.choices_wanted,
        chat.reserve_tokens,
        chat.find_problem,
        chat.parse,
        stream=CHAT_STREAM,
    ),
}
