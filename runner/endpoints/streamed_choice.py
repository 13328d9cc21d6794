"""Owns one choice of a stream as it grows: what all shapes share of it, and what each shape has to bring."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

_MOST_FIELDS = 64
# The first value that says something holds; elsewhere the last does.
_FIRST_HOLDS = frozenset({"id", "created", "model"})


class StreamedChoice(Protocol):
    """One choice as it grows; each API shape has a class of these."""

    def add(self, piece: dict[str, Any]) -> bool:
        """Take in what one chunk says of this choice; return whether that holds any output."""
        ...

    def finish(self) -> dict[str, Any]:
        """Return the members of the choice that hold its output, as an answer without streaming has them."""
        ...


@dataclass(slots=True)
class GrowingChoice:
    """What the choices of all shapes share: why it ended, and its log probabilities, which arrive in pieces."""

    output: StreamedChoice
    fields: dict[str, Any] = field(default_factory=dict)
    logprobs: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether the choice has said why it ended."""
        return any(self.fields.get(name) for name in ("finish_reason", "stop_reason", "error"))

    def add(self, piece: dict[str, Any]) -> bool:
        """Take in what one chunk says of this choice; return whether that holds any output."""
        logprobs = piece.get("logprobs")
        if isinstance(logprobs, dict):
            self._add_logprobs(logprobs)
        if len(piece) > 2 or "finish_reason" in piece:  # noqa: PLR2004 - index and delta are two
            merge(self.fields, piece, ("index", "delta", "message", "text", "logprobs"))
        return self.output.add(piece)

    def finish(self, index: int) -> dict[str, Any]:
        """Return the choice as an answer without streaming has it."""
        logprobs = self.logprobs
        if logprobs and logprobs.get("refusal") and logprobs.get("content") == []:
            logprobs["content"] = None  # an empty list came along with the role
        finished = {"index": index, "finish_reason": None, **self.fields, "logprobs": logprobs}
        return finished | self.output.finish()

    def _add_logprobs(self, logprobs: dict[str, Any]) -> None:
        if self.logprobs is None:
            self.logprobs = {}
        for name, part in logprobs.items():
            known = self.logprobs.get(name)
            if isinstance(known, list) and isinstance(part, list):
                known.extend(part)
            elif known is None and len(self.logprobs) < _MOST_FIELDS:
                self.logprobs[name] = part


def merge(known: dict[str, Any], fresh: dict[str, Any], but: tuple[str, ...]) -> None:
    """Add what a chunk says of itself, or of a choice, to what is known; a null says nothing."""
    for name, item in fresh.items():
        if item is None or name in but:
            continue
        if name not in known:
            if len(known) < _MOST_FIELDS:
                known[name] = item
        elif item and not (name in _FIRST_HOLDS and known[name]):
            known[name] = item
