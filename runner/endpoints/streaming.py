"""Owns streamed answers: the bytes of a stream become the value that the same answer has without streaming.

End mark: `[DONE]`, by the OpenAI API reference, "The chat completion chunk object". Also met: chunks without a blank
line between them (so one event holds several), no end mark, no blank line after the last event, an error as an event of
that name, as a member of a chunk, or flat (vLLM, and OpenAI's Responses).

How chunks come together differs from family to family: each has a `GrowingAnswer`. What is whole is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from runner.endpoints.growing import Notes
from runner.endpoints.sse import MAX_EVENT_BYTES, EventDecoder, EventTooLargeError, is_event_stream
from runner.errors import BodyTooLargeError, DisconnectError, InvalidResponseError
from runner.jsontext import TRAILING, NestingError, loads

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.endpoints.growing import GrowingAnswer
    from runner.endpoints.sse import Event
    from runner.errors import RequestError

_DONE = b"[DONE]"
_OK = 200
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class StreamShape:
    """One API shape: how its chunks become its answer, what makes a body `ask` for them, and how large one may be."""

    new_answer: Callable[[Notes], GrowingAnswer]
    ask: Callable[[bytes], bytes]
    most_event_bytes: int = MAX_EVENT_BYTES

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

    `done` says that the end mark came, so that nothing is missing however the connection ended; `finished` that the
    answer itself says so. `spoken` holds the texts that came piece by piece, where the value has them once more or not.
    """

    value: dict[str, Any]
    notes: tuple[str, ...]
    done: bool
    finished: bool
    problem: RequestError | None
    spoken: tuple[str, ...] = ()


class StreamAssembler:
    """Takes a stream block by block, cut anywhere; `output_seen` and `done` say how far it has come.

    `feed` never raises: a bug here must not end a request that is paid for; `end` raises it, and NestingError for a
    whole stream with a chunk that no parser reads.
    """

    def __init__(self, shape: StreamShape) -> None:
        self._decoder = EventDecoder(shape.most_event_bytes)
        self._notes = Notes()
        self._answer = shape.new_answer(self._notes)
        self._error: Any = None
        self._broken: str | None = None
        self._deep: NestingError | None = None
        self._half_chunk = False
        self._failure: Exception | None = None

    @property
    def output_seen(self) -> bool:
        """Whether any output has come."""
        return self._answer.output_seen

    @property
    def done(self) -> bool:
        """Whether the end mark has come."""
        return self._answer.done

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
        if self._deep is not None and self.done and not self._answer.unharmed:
            raise self._deep
        value = self._answer.finish()
        if self._error and not value.get("error"):
            value["error"] = self._error
        if self._broken is not None and self._answer.unharmed:
            self._notes.add(self._broken)
        missing, problem = self._answer.missing(), self._problem()
        if problem is None and missing:
            self._notes.add(f"{missing}: its stream may have been cut")
        return Streamed(
            value=value,
            notes=self._notes.all(),
            done=self.done,
            finished=self._answer.complete and problem is None,
            problem=problem,
            spoken=self._answer.spoken(),
        )

    def _problem(self) -> RequestError | None:
        if self._failure is not None:
            return BodyTooLargeError(str(self._failure), http_status=_OK)
        if self._broken is not None and not self._answer.unharmed:
            return InvalidResponseError(self._broken, http_status=_OK)
        if self.done or (self._answer.complete and not self._half_chunk):
            return None
        half = "half a chunk at its end" if self._half_chunk else None
        lacks = [f"no {self._answer.end_mark}", self._answer.missing() or half]
        return DisconnectError(
            f"the stream ended before its answer was complete: {', and '.join(filter(None, lacks))}",
            hint="a proxy or load balancer in between may end long answers",
            http_status=_OK,
        )

    def _add_event(self, event: Event) -> None:
        if self.done:
            return
        if event.data.strip().upper() == _DONE:
            self._answer.end()
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
            if event.data.rstrip().endswith(_DONE):
                self._answer.end()
        elif event.name == "error":
            self._error = self._error or event.data.decode("utf-8", "replace")
        elif not _begins_like_json(event.data):
            self._notes.add("an event is no JSON")  # a ping, perhaps
        else:
            self._add_loose(event)

    def _add_loose(self, event: Event) -> None:
        try:
            chunk, note = loads(event.data)
        except NestingError as error:
            self._deep, self._broken = error, self._broken or str(error)
            self._answer.skip(event.name)
        except ValueError as error:
            self._broken = self._broken or f"a chunk of the stream is no JSON ({error})"[:300]
        else:
            if note and TRAILING in note:  # another chunk, perhaps
                self._broken = self._broken or f"a chunk of the stream is no JSON ({note})"
            self._notes.add(note or "")
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
                self._error = self._error or chunk
            self._notes.add("an event is no object")
            return
        error = chunk.get("error")
        if "error" in (name, chunk.get("object"), chunk.get("type")):
            error = error or chunk
        if error and not self._error and (not isinstance(error, dict) or any(error.values())):
            self._error = error
        self._answer.add(chunk, name)


def _chunks_by_line(data: bytes) -> list[Any] | None:
    """Return the chunks of an event each of whose lines is one, end mark aside; null where that is not so."""
    try:
        return [orjson.loads(line) for line in data.split(b"\n") if line.strip() not in {b"", _DONE}]
    except orjson.JSONDecodeError:
        return None


def _begins_like_json(data: bytes) -> bool:
    return data.lstrip().startswith((b"{", b"["))
