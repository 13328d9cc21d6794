"""Owns what an adapter's answer says as a whole, whatever it is an answer to: token counts, model, id, time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.answers import seconds_or_none
from runner.endpoints.found import as_word, find_in
from runner.endpoints.usage import as_count
from runner.jsontext import dumps
from runner.records import Parsed, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.records import Output

# Which counts make up a total that the server does not state: of texts, and of vectors, which take no tokens.
OF_TEXTS, OF_VECTORS = ("prompt_tokens", "completion_tokens"), ("prompt_tokens",)
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
_NAMES = ("model", "id", "created", "system_fingerprint", "service_tier")


class BodyReader:
    """Reads what stands around the outputs: the expressions of `response` that are looked up in the body."""

    def __init__(self, response: Mapping[str, Any], counted: tuple[str, ...]) -> None:
        self._find = {name: find_in(response, name) for name in _NAMES}
        self.usage = UsageReader(response.get("usage") or {}, counted)

    def parsed(self, value: Any, outputs: tuple[tuple[Output, ...], ...], notes: list[str]) -> Parsed:
        """Return the outputs with what stands around them; `notes` gets what is odd there."""
        find = self._find
        return Parsed(
            outputs=outputs,
            usage=self.usage.read(value, notes),
            served_model=as_word(find["model"](value)),
            response_id=as_word(find["id"](value)),
            created=seconds_or_none(find["created"](value)),
            system_fingerprint=as_word(find["system_fingerprint"](value)),
            service_tier=as_word(find["service_tier"](value)),
            notes=tuple(notes),
        )


class UsageReader:
    """Reads token counts: the expressions of `response.usage`. `counted` are those that make up the total."""

    def __init__(self, usage: Mapping[str, Any], counted: tuple[str, ...]) -> None:
        self._find = {name: find_in(usage, name) for name in _COUNTS}
        self._raw = find_in(usage, "raw")
        self._any = any(usage.get(name) is not None for name in _COUNTS)
        self._counted = counted

    def count(self, body: Any) -> Usage:
        """Return the token counts and nothing else."""
        return self._counts(body, [], None) if self._any else Usage()

    def read(self, body: Any, notes: list[str]) -> Usage:
        """Return the token counts with the server's own object; what is no count is null with a note."""
        if not self._any:
            return Usage()
        raw = self._raw(body)
        usage = self._counts(body, notes, None if raw is None else dumps(raw))
        if usage.raw is None and usage.total_tokens is not None:
            # Without an object of the server's own, what was found stands for it.
            return self._counts(body, [], dumps({name: getattr(usage, name) for name in _COUNTS}))
        return usage

    def _counts(self, body: Any, notes: list[str], raw: str | None) -> Usage:
        found = {name: as_count(find(body), name, notes) for name, find in self._find.items()}
        parts = [count for name in self._counted if (count := found[name]) is not None]
        if found["total_tokens"] is None and len(parts) == len(self._counted):
            found["total_tokens"] = sum(parts)
        return Usage(**found, raw=raw)
