"""Owns streamed answers: the chunks of a stream become the value that the same answer has without streaming.

Shape: OpenAI API reference, "The chat completion chunk object"; the end mark `[DONE]`; with `include_usage` a last
chunk with `usage` and no choices. Also met: chunks without a blank line between them (so one event holds several), no
end mark, no blank line after the last event, an error as an event of that name, as a member of a chunk, or flat (vLLM),
`usage` in a choice (Moonshot), empty ids in a first chunk (Azure).

What differs from shape to shape is one class, a `StreamedChoice`; everything else is shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from runner.endpoints.sse import EventDecoder, EventTooLargeError, is_event_stream
from runner.endpoints.streamed_choice import GrowingChoice, merge
from runner.errors import BodyTooLargeError, DisconnectError, InvalidResponseError
from runner.jsontext import TRAILING, NestingError, loads

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.endpoints.sse import Event
    from runner.endpoints.streamed_choice import StreamedChoice
    from runner.errors import RequestError

_DONE = b"[DONE]"
_OK = 200
_BLOCK_BYTES = 1 << 16
_MOST_CHOICES = 1024
_MOST_NOTES = 8


@dataclass(frozen=True, slots=True)
class StreamShape:
    """How the chunks of one API shape become its answer; `object_name` is what the answer calls itself."""

    object_name: str
    new_choice: Callable[[], StreamedChoice]

    def open(self) -> StreamAssembler:
        """Begin to assemble a stream."""
        return StreamAssembler(self)

    def assemble(self, body: bytes) -> Streamed:
        """Assemble a stream that is all there."""
        assembler = StreamAssembler(self)
        for start in range(0, len(body), _BLOCK_BYTES):
            assembler.feed(body[start : start + _BLOCK_BYTES])
        return assembler.end()

    def read(self, body: bytes) -> tuple[Any, str | None]:
        """Return the value of a body, streamed or not, with a note as `jsontext.loads` does. Raises ValueError."""
        if not is_event_stream(body):
            return loads(body)
        streamed = self.assemble(body)
        if streamed.problem is not None:
            raise ValueError(streamed.problem.message)
        return streamed.value, "; ".join(streamed.notes) or None


@dataclass(frozen=True, slots=True)
class Streamed:
    """What a stream came to: the value, what was odd, and why it is not the whole answer, if it is not.

    `done` says that the end mark came, so that nothing is missing however the connection ended; `finished` that every
    choice says why it ended.
    """

    value: dict[str, Any]
    notes: tuple[str, ...]
    done: bool
    finished: bool
    problem: RequestError | None


class StreamAssembler:
    """Takes a stream block by block, cut anywhere; `output_seen` and `done` say how far it has come.

    `feed` never raises: a bug here must not end a request that is paid for; `end` raises it, and NestingError for a
    whole stream with a chunk that no parser reads.
    """

    def __init__(self, shape: StreamShape) -> None:
        self._shape = shape
        self._decoder = EventDecoder()
        self._fields: dict[str, Any] = {}
        self._choices: dict[int, GrowingChoice] = {}
        self._notes: dict[str, None] = {}
        self._broken: str | None = None
        self._deep: NestingError | None = None
        self._half_chunk = False
        self._failure: Exception | None = None
        self.output_seen = False
        self.done = False

    def feed(self, block: bytes) -> None:
        """Take in the next bytes of the body."""
        if self.done or self._failure is not None:
            return
        try:
            for event in self._decoder.feed(block):
                self._add_event(event)
        except Exception as error:  # noqa: BLE001 - see the class
            self._failure = error

    def end(self) -> Streamed:
        """Return what came, once no more will come."""
        if self._failure is not None and not isinstance(self._failure, EventTooLargeError):
            raise self._failure
        if not self.done and self._failure is None:
            self._add_last()
        if self._deep is not None and self.done:
            raise self._deep
        choices = [self._choices[index].finish(index) for index in sorted(self._choices)]
        value = {**self._fields, "object": self._shape.object_name, "choices": choices}
        if "usage" not in value:
            usage = next(
                (choice.fields["usage"] for choice in self._choices.values() if "usage" in choice.fields), None
            )
            value |= {"usage": usage} if usage else {}
        unfinished = [index for index, choice in sorted(self._choices.items()) if not choice.finished]
        problem = self._problem(unfinished)
        if problem is None and unfinished:
            self._note(f"choice {unfinished[0]} has no finish_reason: its stream may have been cut")
        return Streamed(
            value=value,
            notes=tuple(self._notes),
            done=self.done,
            finished=bool(self._choices) and not unfinished and problem is None,
            problem=problem,
        )

    def _problem(self, unfinished: list[int]) -> RequestError | None:
        if self._failure is not None:
            return BodyTooLargeError(str(self._failure), http_status=_OK)
        if self._broken is not None:
            return InvalidResponseError(self._broken, http_status=_OK)
        if self.done or (self._choices and not unfinished and not self._half_chunk):
            return None
        missing = f"choice {unfinished[0]} has no finish_reason" if unfinished else "half a chunk at its end"
        return DisconnectError(
            f"the stream ended before its answer was complete: no [DONE], and {missing}",
            hint="a proxy or load balancer in between may end long answers",
            http_status=_OK,
        )

    def _add_event(self, event: Event) -> None:
        if self.done:
            return
        if event.data.strip().upper() == _DONE:
            self.done = True
            return
        try:
            self._add_chunk(orjson.loads(event.data), event.name)
        except orjson.JSONDecodeError:
            self._add_odd(event)

    def _add_odd(self, event: Event) -> None:
        """Take in an event that is no strict JSON: several chunks, JSON as servers write it, or no chunk at all."""
        several = _chunks_by_line(event.data)
        if several is not None:
            for chunk in several:
                self._add_chunk(chunk, event.name)
            self.done = event.data.rstrip().endswith(_DONE)
        elif event.name == "error":
            self._fields.setdefault("error", event.data.decode("utf-8", "replace"))
        elif not _begins_like_json(event.data):
            self._note("an event is no JSON")  # a ping, perhaps
        else:
            self._add_loose(event)

    def _add_loose(self, event: Event) -> None:
        try:
            chunk, note = loads(event.data)
        except NestingError as error:
            self._deep, self._broken = error, self._broken or str(error)
        except ValueError as error:
            self._broken = self._broken or f"a chunk of the stream is no JSON ({error})"[:300]
        else:
            if note and TRAILING in note:  # another chunk, perhaps
                self._broken = self._broken or f"a chunk of the stream is no JSON ({note})"
            self._note(note or "")
            self._add_chunk(chunk, event.name)

    def _add_last(self) -> None:
        """Take in what stands after the last blank line, if it is whole: servers leave that line out."""
        last = self._decoder.close()
        if last is None:
            return
        several = _chunks_by_line(last.data)
        if last.data.strip().upper() == _DONE or several is not None:
            self._add_event(last)
        else:
            self._half_chunk = _begins_like_json(last.data)

    def _add_chunk(self, chunk: Any, name: str) -> None:
        if not isinstance(chunk, dict):
            if name == "error":
                self._fields.setdefault("error", chunk)
            self._note("an event is no object")
            return
        error = chunk.get("error")
        if name == "error" or chunk.get("object") == "error":
            error = error or chunk
        if error and "error" not in self._fields and (not isinstance(error, dict) or any(error.values())):
            self._fields["error"] = error
        merge(self._fields, chunk, ("choices", "object", "error"))
        pieces = chunk.get("choices")
        for position, piece in enumerate(pieces if isinstance(pieces, list) else ()):
            if isinstance(piece, dict):
                self._add_piece(piece, position)
            else:
                self._note(f"choice {position} is not an object")

    def _add_piece(self, piece: dict[str, Any], position: int) -> None:
        index = piece.get("index")
        if type(index) is not int or index < 0:
            index = position
        choice = self._choices.get(index)
        if choice is None:
            if len(self._choices) >= _MOST_CHOICES:
                self._note(f"more than {_MOST_CHOICES} choices")
                return
            choice = self._choices[index] = GrowingChoice(self._shape.new_choice())
        if choice.add(piece):
            self.output_seen = True

    def _note(self, note: str) -> None:
        if note and len(self._notes) < _MOST_NOTES:
            self._notes.setdefault(note)


def _chunks_by_line(data: bytes) -> list[Any] | None:
    """Return the chunks of an event each of whose lines is one, end mark aside; null where that is not so."""
    try:
        return [orjson.loads(line) for line in data.split(b"\n") if line.strip() not in {b"", _DONE}]
    except orjson.JSONDecodeError:
        return None


def _begins_like_json(data: bytes) -> bool:
    return data.lstrip().startswith((b"{", b"["))
