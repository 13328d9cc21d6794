"""Owns Server-Sent Events: the bytes of a body, cut anywhere, become events.

By the WHATWG HTML standard, section 9.2.6: lines end in LF, CR or CR LF, one byte-order mark may come first, a line
that begins with a colon is a comment, the `data` lines of one event are joined by LF, and an empty line ends the event.
Beyond it: a field `error`, which llama.cpp has sent in place of an event of that name, is one. Data stays bytes, since
servers cut characters in two; whoever reads the JSON decides about them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A chunk of a stream is a few hundred bytes; one with 20 alternatives a token a few thousand.
MAX_EVENT_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_START = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*(?:data|event|id|retry|error)?:")


class EventTooLargeError(ValueError):
    """A line or an event of the stream is larger than the bound."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `name` is empty where the stream gives none, `data` its data lines joined by LF."""

    name: str
    data: bytes


def is_event_stream(body: bytes) -> bool:
    """Say whether a body is a stream of events rather than JSON; no JSON value begins like one."""
    return body[:1] != b"{" and _START.match(body) is not None


class EventDecoder:
    """Decodes block after block, in time linear in their bytes, each event bounded. Not for use after it has raised."""

    __slots__ = ("_after_cr", "_begun", "_data", "_head", "_most_bytes", "_name", "_partial", "_size")

    def __init__(self, most_bytes: int = MAX_EVENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._begun = False
        self._head = b""
        self._after_cr = False
        self._partial = bytearray()
        self._data: list[bytes] = []
        self._name = ""
        self._size = 0

    def feed(self, block: bytes) -> list[Event]:
        """Return the events that end in this block. Raises EventTooLargeError."""
        if not self._begun:
            block = self._without_bom(block)
        if self._after_cr and block[:1] == b"\n":  # the second half of a CR LF
            block = block[1:]
            self._after_cr = False
        if not block:
            return []
        self._after_cr = block.endswith(b"\r")
        lines = block.splitlines()
        rest = b"" if block.endswith((b"\n", b"\r")) else lines.pop()
        events: list[Event] = []
        for line in lines:
            self._add_line(self._joined(line), events)
        self._partial += rest
        self._check_size()
        return events

    def close(self) -> Event | None:
        """Return what the end of the stream left unended. The standard drops it, since it may be cut: look closely."""
        events: list[Event] = []
        if self._partial:
            self._add_line(self._joined(b""), events)
        self._add_line(b"", events)
        return events[0] if events else None

    def _joined(self, line: bytes) -> bytes:
        if not self._partial:
            return line
        whole = bytes(self._partial) + line
        self._partial.clear()
        return whole

    def _without_bom(self, block: bytes) -> bytes:
        self._head += block
        if len(self._head) < len(_BOM) and _BOM.startswith(self._head):
            return b""
        self._begun = True
        head, self._head = self._head, b""
        return head.removeprefix(_BOM)

    def _add_line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            if self._data:
                events.append(Event(self._name, b"\n".join(self._data)))
            self._data, self._name, self._size = [], "", 0
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._add_data(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")[:100]
        elif field == b"error":
            self._name = "error"
            self._add_data(value)

    def _add_data(self, value: bytes) -> None:
        self._data.append(value)
        self._size += len(value) + 1
        self._check_size()

    def _check_size(self) -> None:
        if self._size + len(self._partial) > self._most_bytes:
            raise EventTooLargeError(f"an event of the stream is larger than {self._most_bytes:,} bytes")
