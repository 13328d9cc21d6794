from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import is_event_stream
from runner.endpoints.sse import MAX_EVENT_BYTES, Event, EventDecoder, EventTooLargeError


def decode(*blocks: bytes) -> list[Event]:
    decoder = EventDecoder()
    return [event for block in blocks for event in decoder.feed(block)]


def slowly(body: bytes) -> list[Event]:
    """Decode the whole at once, word for word as the standard describes it."""
    events, name, data = [], "", []
    lines = re.split(rb"\r\n|\n|\r", body.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:
        found = re.fullmatch(rb"([^:]*)(?::(?: )?(.*))?", line, re.DOTALL)
        assert found is not None
        field, value = found[1], found[2] or b""
        if not line:
            events += [Event(name, b"\n".join(data))] if data else []
            name, data = "", []
        elif field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return events


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\n", [Event("", b"a")]),
        (b"data: a\r\n\r\n", [Event("", b"a")]),
        (b"data: a\r\rdata: b\r\r", [Event("", b"a"), Event("", b"b")]),
        (b"data: a\r\n\ndata: b\n\r\n", [Event("", b"a"), Event("", b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("", b"a")]),
        (b"data: a\n\xef\xbb\xbfdata: b\n\n", [Event("", b"a")]),
        (b"data:a\n\n", [Event("", b"a")]),
        (b"data:  a\n\n", [Event("", b" a")]),
        (b"data: a:b\n\n", [Event("", b"a:b")]),
        (b"data: a\ndata: b\n\n", [Event("", b"a\nb")]),
        (b"data\ndata:\n\n", [Event("", b"\n")]),
        (b"data\n\n", [Event("", b"")]),
        (b"event: ping\n\ndata: a\n\n", [Event("", b"a")]),
        (b"event: x\ndata: a\nevent: y\n\n", [Event("y", b"a")]),
        (b": comment\n:\n\n: more\ndata: a\n: within\n\n", [Event("", b"a")]),
        (b"id: 1\nretry: 5\nother: x\nDATA: y\n data: z\ndata: a\n\n", [Event("", b"a")]),
        (b"error: gone\n\n", [Event("error", b"gone")]),
        (b"data: \x00\xff\xe6\x9d\n\n", [Event("", b"\x00\xff\xe6\x9d")]),
        (b"data: a\x0b\x0c\x1c\x85\n\n", [Event("", b"a\x0b\x0c\x1c\x85")]),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"\n\r\n\r\n\n", []),
        (b"", []),
    ],
)
def test_bytes_become_events(body: bytes, events: list[Event]) -> None:
    assert decode(body) == events
    assert decode(*(body[place : place + 1] for place in range(len(body)))) == events


PIECES = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"data: ",
        b"data",
        b"event: e",
        b": c",
        b":",
        b"a",
        b"{}",
        b"\xef\xbb\xbf",
        b"\xe6",
    ]
)


@given(st.lists(PIECES, max_size=40), st.data())
def test_where_the_bytes_are_cut_does_not_matter(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    blocks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert decode(*blocks) == decode(body) == slowly(body)


@pytest.mark.parametrize(
    ("body", "event"),
    [
        (b"data: a", Event("", b"a")),
        (b"data: a\n", Event("", b"a")),
        (b"data: a\r", Event("", b"a")),
        (b"event: error\ndata: a\nda", Event("error", b"a")),
        (b"data: a\n\n", None),
        (b"data: a\n\n: bye", None),
        (b"", None),
        (b"\xef\xbb", None),
    ],
)
def test_the_end_gives_what_was_left_unended(body: bytes, event: Event | None) -> None:
    decoder = EventDecoder()
    decoder.feed(body)
    assert decoder.close() == event


@pytest.mark.parametrize("start", [b"", b"data: ", b": "])
def test_a_line_without_an_end_is_not_held_for_ever(start: bytes) -> None:
    decoder = EventDecoder()
    decoder.feed(start)
    block = b"x" * (1 << 20)
    for _ in range(MAX_EVENT_BYTES // len(block) - 1):
        decoder.feed(block)
    with pytest.raises(EventTooLargeError):
        decoder.feed(3 * block)


def test_an_event_of_many_lines_is_not_held_for_ever() -> None:
    decoder = EventDecoder()
    block = (b"data: " + b"x" * 1018 + b"\n") * 1024
    for _ in range(MAX_EVENT_BYTES // len(block) - 1):
        decoder.feed(block)
    with pytest.raises(EventTooLargeError):
        decoder.feed(3 * block)


def test_the_bound_is_that_of_one_event_not_of_the_stream() -> None:
    decoder = EventDecoder()
    block = b"data: " + b"x" * (1 << 20) + b"\n\n: ping\n"
    assert sum(len(decoder.feed(block)) for _ in range(MAX_EVENT_BYTES // len(block) + 4)) > 16


@pytest.mark.parametrize(
    ("body", "streamed"),
    [
        (b"data: {}", True),
        (b"data:{}", True),
        (b": ping\n\ndata: {}", True),
        (b"\xef\xbb\xbfdata: {}", True),
        (b"\r\n\r\nevent: x", True),
        (b"id: 1", True),
        (b"retry: 1", True),
        (b"error: {}", True),
        (b'{"data: ": 1}', False),
        (b' {"choices": []}', False),
        (b'["data:"]', False),
        (b'"data:"', False),
        (b"<html>data:", False),
        (b"database: x", False),
        (b"", False),
    ],
)
def test_a_stream_is_told_from_json_by_its_first_bytes(body: bytes, streamed: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_event_stream(body) is streamed
