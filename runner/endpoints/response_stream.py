"""Owns streams of responses: typed events, the last of which holds the whole response.

Shape: OpenAI API reference, "Streaming events" of the Responses API: `response.created`, deltas of texts, refusals,
reasoning and arguments, and in the end `response.completed`, `response.incomplete` or `response.failed` with the
response as it is without streaming. A delta tells when output came, and nothing else: no response is put together from
deltas, since nothing but its last event says that it is whole. `[DONE]`, which some servers add, says nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.stream_request import ask_for_stream
from runner.endpoints.streaming import StreamShape

if TYPE_CHECKING:
    from runner.endpoints.growing import Notes

# The last event is as large as an answer may be.
_MOST_EVENT_BYTES = 64 * 1024 * 1024
_LAST = {f"response.{status}": status for status in ("completed", "incomplete", "failed", "cancelled")}


class ResponseAnswer:
    """A response as its events come."""

    end_mark = "response.completed"

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._response: dict[str, Any] | None = None
        self._skipped = False
        self._items: dict[int, Any] = {}
        self._spoken: dict[tuple[str, str], list[str]] = {}
        self.output_seen = False

    @property
    def done(self) -> bool:
        """Whether the response has come whole, be it one that no parser reads."""
        return self._skipped or self._response is not None

    complete = done

    @property
    def unharmed(self) -> bool:
        """Whether the response is there, whatever became of the deltas before it."""
        return self._response is not None

    def add(self, chunk: dict[str, Any], name: str) -> None:
        """Take in an event; its type stands in its data, or else is its name."""
        kind = chunk.get("type")
        kind = kind if isinstance(kind, str) else name
        if kind in _LAST:
            self._add_last(chunk.get("response"), _LAST[kind])
        elif kind.endswith(".delta"):
            self._add_delta(kind, chunk)
        elif kind.startswith("response.output_item."):
            self._add_item(kind, chunk)

    def skip(self, name: str) -> None:
        """Take in that an event came which no parser reads."""
        self._skipped = self._skipped or name in _LAST

    def end(self) -> None:
        """Take in a `[DONE]`."""

    def missing(self) -> str | None:
        """Say nothing: the whole response is missing, or nothing is."""
        return None

    def finish(self) -> dict[str, Any]:
        """Return the response, or what stands for one that did not come."""
        if self._response is None:
            return {"object": "response"}
        response = dict(self._response)
        if not response.get("output") and self._items:  # it points back at what came whole before
            response["output"] = [self._items[index] for index in sorted(self._items)]
        return response

    def spoken(self) -> tuple[str, ...]:
        """Return what the deltas say, item by item."""
        return tuple("".join(pieces) for pieces in self._spoken.values())

    def _add_last(self, response: Any, status: str) -> None:
        if not isinstance(response, dict):
            self._notes.add("the last event of the stream holds no response")
            return
        self._response = {"status": status, **response}
        self.output_seen = self.output_seen or bool(response.get("output"))

    def _add_delta(self, kind: str, chunk: dict[str, Any]) -> None:
        delta = chunk.get("delta")
        if delta and isinstance(delta, str):
            self._spoken.setdefault((kind, str(chunk.get("item_id"))), []).append(delta)
            self.output_seen = True

    def _add_item(self, kind: str, chunk: dict[str, Any]) -> None:
        item, index = chunk.get("item"), chunk.get("output_index")
        if kind.endswith(".done"):
            self._items[index if type(index) is int else len(self._items)] = item
        elif isinstance(item, dict) and str(item.get("type")).endswith("_call"):
            self.output_seen = True  # a call is output before its arguments are


RESPONSE_STREAM = StreamShape(ResponseAnswer, ask_for_stream, most_event_bytes=_MOST_EVENT_BYTES)
