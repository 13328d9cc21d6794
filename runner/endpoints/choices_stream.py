"""Owns streams of choices: the chunks of chat and text completions become the answer that has the same choices.

Shape: OpenAI API reference, "The chat completion chunk object"; with `include_usage` a last chunk with `usage` and no
choices. Also met: `usage` in a choice (Moonshot), empty ids in a first chunk (Azure).

What differs from shape to shape is one class, a `StreamedChoice`; everything else is shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.streamed_choice import GrowingChoice, merge

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.endpoints.growing import Notes
    from runner.endpoints.streamed_choice import StreamedChoice

_MOST_CHOICES = 1024


class ChoicesAnswer:
    """An answer made of choices; `object_name` is what it calls itself."""

    end_mark = "[DONE]"
    unharmed = False  # each chunk may hold a part of the text

    def __init__(self, object_name: str, new_choice: Callable[[], StreamedChoice], notes: Notes) -> None:
        self._object_name = object_name
        self._new_choice = new_choice
        self._notes = notes
        self._fields: dict[str, Any] = {}
        self._choices: dict[int, GrowingChoice] = {}
        self.output_seen = False
        self.done = False

    @property
    def complete(self) -> bool:
        """Whether there are choices, and each says why it ended."""
        return bool(self._choices) and all(choice.finished for choice in self._choices.values())

    def add(self, chunk: dict[str, Any], name: str) -> None:  # noqa: ARG002 - the family needs no names of events
        """Take in what a chunk says of the answer, and the pieces of its choices."""
        merge(self._fields, chunk, ("choices", "object", "error"))
        pieces = chunk.get("choices")
        for position, piece in enumerate(pieces if isinstance(pieces, list) else ()):
            if isinstance(piece, dict):
                self._add_piece(piece, position)
            else:
                self._notes.add(f"choice {position} is not an object")

    def skip(self, name: str) -> None:
        """Take in nothing: no chunk is the last."""

    def end(self) -> None:
        """Take in the end mark: whatever has not come will not."""
        self.done = True

    def missing(self) -> str | None:
        """Name the first choice that does not say why it ended."""
        unfinished = [index for index, choice in self._choices.items() if not choice.finished]
        return f"choice {min(unfinished)} has no finish_reason" if unfinished else None

    def finish(self) -> dict[str, Any]:
        """Return the answer."""
        choices = [self._choices[index].finish(index) for index in sorted(self._choices)]
        value = {**self._fields, "object": self._object_name, "choices": choices}
        if "usage" not in value:
            usage = next(
                (choice.fields["usage"] for choice in self._choices.values() if "usage" in choice.fields), None
            )
            value |= {"usage": usage} if usage else {}
        return value

    def spoken(self) -> tuple[str, ...]:
        """Return nothing: all pieces are in the value."""
        return ()

    def _add_piece(self, piece: dict[str, Any], position: int) -> None:
        index = piece.get("index")
        if type(index) is not int or index < 0:
            index = position
        choice = self._choices.get(index)
        if choice is None:
            if len(self._choices) >= _MOST_CHOICES:
                self._notes.add(f"more than {_MOST_CHOICES} choices")
                return
            choice = self._choices[index] = GrowingChoice(self._new_choice())
        if choice.add(piece):
            self.output_seen = True
