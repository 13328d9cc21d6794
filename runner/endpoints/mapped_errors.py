"""Owns what an adapter says of errors: their class by code or status, their text, and errors inside a 2xx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.found import as_line, find_in
from runner.endpoints.tree import is_true
from runner.errors import ServerError, kind_of, request_errors
from runner.jsontext import loads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.errors import RequestError

# The errors that an answer of a server can stand for.
ANSWERED = (
    *("auth", "bad_request", "context_length", "model_not_found", "not_found", "overload", "permission_denied"),
    *("quota", "rate_limit", "request_timeout", "request_too_large", "server"),
)
# What to do about an answer in which nothing is found.
UNMAPPED = "does response in the adapter fit what the server sends? `evalrunner check CONFIG` shows both"
_LONGEST_MESSAGE = 300


class ErrorReader:
    """Reads errors: the expressions and tables of `errors`."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        kinds = request_errors()
        self._by_status = {int(status): kinds[name] for status, name in (errors.get("by_status") or {}).items()}
        self._by_code = {code.lower(): kinds[name] for code, name in (errors.get("by_code") or {}).items()}
        self._code, self._message = find_in(errors, "code"), find_in(errors, "message")
        self._in_body = find_in(errors, "in_body")

    def refine(self, error: RequestError, body: bytes) -> RequestError:
        """Return a failed answer's error as the adapter sees it: its class by code, else by status; its own message."""
        try:
            value, _ = loads(body)
        except ValueError:
            value = None
        status = error.http_status or 0
        kind = self._kind(value) or self._by_status.get(status)
        said = as_line(self._message(value))
        message = f"HTTP {status}: {said}"[:_LONGEST_MESSAGE] if said else error.message
        if kind is None or kind is type(error):
            kind, hint = type(error), error.hint
        else:
            hint = f"the adapter's errors say that this is {kind_of(kind)}"
        return kind(message, hint=hint, http_status=error.http_status, retry_after_s=error.retry_after_s)

    def in_body(self, body: Any) -> RequestError | None:
        """Return the error that the body of a 2xx holds in place of an answer."""
        if not is_true(self._in_body(body)):
            return None
        said = as_line(self._message(body)) or "no text"
        kind = self._kind(body) or ServerError
        return kind(f"HTTP 200 with an error: {said}"[:_LONGEST_MESSAGE], http_status=200)

    def _kind(self, body: Any) -> type[RequestError] | None:
        code = self._code(body)
        return self._by_code.get(str(code).lower()) if isinstance(code, str | int) else None
