"""Owns what an answer is while it still grows: what each family of streams has to bring, and notes on what is odd."""

from __future__ import annotations

from typing import Any, Protocol

_MOST_NOTES = 8


class Notes:
    """What was odd about a stream: each thing once, and not without number."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: dict[str, None] = {}

    def add(self, note: str) -> None:
        """Note something; an empty text is nothing."""
        if note and len(self._all) < _MOST_NOTES:
            self._all.setdefault(note)

    def all(self) -> tuple[str, ...]:
        """Return the notes in their order."""
        return tuple(self._all)


class GrowingAnswer(Protocol):
    """An answer as its chunks come. Made with the `Notes` of its stream."""

    @property
    def end_mark(self) -> str:
        """What a stream of this family ends with, for messages."""
        ...

    @property
    def output_seen(self) -> bool:
        """Whether any output has come."""
        ...

    @property
    def done(self) -> bool:
        """Whether the end mark has come."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the answer itself says that nothing is missing."""
        ...

    @property
    def unharmed(self) -> bool:
        """Whether the answer is all there although chunks could not be read."""
        ...

    def add(self, chunk: dict[str, Any], name: str) -> None:
        """Take in a chunk; `name` is its event's."""
        ...

    def skip(self, name: str) -> None:
        """Take in that an event came which no parser reads."""
        ...

    def end(self) -> None:
        """Take in a `[DONE]`."""
        ...

    def missing(self) -> str | None:
        """Say what a part of the answer lacks, if that can be named."""
        ...

    def finish(self) -> dict[str, Any]:
        """Return the value that an answer without streaming has; the caller's own."""
        ...

    def spoken(self) -> tuple[str, ...]:
        """Return the texts that came in pieces and that the value holds beside, or not at all."""
        ...
