"""Owns API shapes: how a sample becomes a request body, and a response body becomes outputs. Pure; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.endpoints import chat
from runner.endpoints.template import Template, compile_template
from runner.endpoints.usage import count_tokens, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.errors import RequestError
    from runner.records import Parsed, Usage

__all__ = ["ENDPOINTS", "Endpoint", "Template", "compile_template", "count_tokens", "read_usage"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One API shape as plain functions.

    `path` is added to the base URL. `choices_wanted(body)` counts the answers a body asks for, `reserve_tokens(body,
    size_bytes)` estimates its tokens, `find_problem(body)` says why a 2xx body is no answer, and `parse(body bytes,
    cases, choices)` reads the outputs (it raises ValueError for what is none). `count_tokens(body)` reads the counts
    alone. An adapter may also see errors its own way: `refine(error, body bytes)` may return another error for a failed
    answer, and `error_in_body(body)` replaces how an error inside a 2xx is found.
    """

    name: str
    path: str
    choices_wanted: Callable[[dict[str, Any]], int]
    reserve_tokens: Callable[[dict[str, Any], int], int]
    find_problem: Callable[[Any], RequestError | None]
    parse: Callable[[bytes, int, int], Parsed]
    count_tokens: Callable[[Any], Usage] = count_tokens
    refine: Callable[[RequestError, bytes], RequestError] | None = None
    error_in_body: Callable[[Any], RequestError | None] | None = None


# A new API shape is one module and one line here.
ENDPOINTS: dict[str, Endpoint] = {
    "chat": Endpoint("chat", chat.PATH, chat.choices_wanted, chat.reserve_tokens, chat.find_problem, chat.parse),
}
