"""Owns streams: an answer cut into chunks as OpenAI streams it, and what broken servers make of such a stream.

One chunk a word, or one a token where log probabilities were asked for; several choices take turns. Usage comes in a
last chunk without choices, if that was asked for. Responses have events of their own, and no end mark.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from runner.simulate.replies import Reply
from runner.simulate.response_events import events_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runner.simulate.details import FaultDetails

Events = list[bytes]

_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
_DONE = b"data: [DONE]\n\n"
_WORD = re.compile(r"\s*\S+|\s+")
_SHARED = ("id", "created", "model", "service_tier", "system_fingerprint")
_CHAT = "chat.completion"
_TEXT = "text_completion"
_RESPONSE = "response"


def stream_reply(reply: Reply, fault: str | None, details: FaultDetails, *, include_usage: bool) -> Reply:
    """Return the reply as a stream, spoilt if `fault` is one of `STREAM_SPOILS`.

    What is no completion and no response stays whole.
    """
    answer = orjson.loads(reply.body)
    if fault == "stream_ignored":
        return reply
    if answer.get("object") == _RESPONSE:
        events = [_named_event(event) for event in events_of(answer)]
    elif answer.get("object") in _CHUNKS:
        events = [*(_event(chunk) for chunk in chunks_of(answer, include_usage=include_usage)), _DONE]
    else:
        return reply
    if fault is not None and fault in STREAM_SPOILS:
        events = STREAM_SPOILS[fault](events, details)
    return Reply(reply.status, b"".join(events), {**reply.headers, **_HEADERS}, tuple(events))


def chunks_of(answer: dict[str, Any], *, include_usage: bool) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a chat completion or of a text completion."""
    shared = {name: answer[name] for name in _SHARED if name in answer}
    shared["object"], pieces = _CHUNKS[answer["object"]]
    usage = {"usage": None} if include_usage else {}
    for turn in zip_longest(*(pieces(choice) for choice in answer["choices"])):
        for piece in turn:
            if piece is not None:
                yield {**shared, "choices": [piece], **usage}
    if include_usage and "usage" in answer:
        yield {**shared, "choices": [], "usage": answer["usage"]}


def _pieces(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    message, logprobs = choice["message"], choice.get("logprobs")
    start = {"role": message["role"]}
    if "content" in message:
        start["content"] = None if message["content"] is None else ""
    yield _piece(choice, start)
    for word in _words(message.get("reasoning_content")):
        yield _piece(choice, {"reasoning_content": word})
    for name in ("content", "refusal"):
        for part, entry in _parts(message.get(name), logprobs, name):
            yield _piece(choice, {name: part}, entry)
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield from (_piece(choice, {"tool_calls": [part]}) for part in _call_parts(index, call))
    rest = {name: value for name, value in choice.items() if name not in {"index", "message", "logprobs"}}
    yield {"index": choice["index"], "delta": {}, "logprobs": None, **rest}


def _text_pieces(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    logprobs = choice.get("logprobs") or {}
    rest = {name: value for name, value in choice.items() if name not in {"text", "logprobs"}}
    tokens = logprobs.get("tokens")
    if isinstance(tokens, list) and "".join(tokens) == choice["text"]:
        for number, token in enumerate(tokens):
            entry = {name: values[number : number + 1] if values else values for name, values in logprobs.items()}
            yield {**rest, "text": token, "logprobs": entry, "finish_reason": None}
    else:
        for word in _words(choice.get("text")):
            yield {**rest, "text": word, "logprobs": None, "finish_reason": None}
    yield {**rest, "text": "", "logprobs": None}


# What the chunks of an answer are called, and how its choices fall into pieces.
_CHUNKS: dict[str, tuple[str, Callable[[dict[str, Any]], Iterator[dict[str, Any]]]]] = {
    _CHAT: (f"{_CHAT}.chunk", _pieces),
    _TEXT: (_TEXT, _text_pieces),
}


def _piece(choice: dict[str, Any], delta: dict[str, Any], logprobs: Any = None) -> dict[str, Any]:
    return {"index": choice["index"], "delta": delta, "logprobs": logprobs, "finish_reason": None}


def _parts(text: str | None, logprobs: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the text in pieces, each with the log probabilities of its token if there are any under that name."""
    entries = logprobs.get(name) if isinstance(logprobs, dict) else None
    if not isinstance(entries, list):
        yield from ((word, None) for word in _words(text))
        return
    told = list(_words(text)) if name == "refusal" else []  # its tokens are those of another text
    for number in range(max(len(entries), len(told))):
        entry = {**logprobs, name: entries[number : number + 1]}
        yield (told[number] if number < len(told) else "") if told else entries[number]["token"], entry


def _call_parts(index: int, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    function = call["function"]
    yield {"index": index, **call, "function": {"name": function["name"], "arguments": ""}}
    for word in _words(function["arguments"]):
        yield {"index": index, "function": {"arguments": word}}


def _words(text: str | None) -> list[str]:
    return _WORD.findall(text or "")


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _named_event(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\n".encode() + _event(event)


def _half(events: Events) -> Events:
    return events[: max(1, len(events) // 2)]


def _end(events: Events, _details: FaultDetails) -> Events:
    """Stop in the middle, though HTTP says the body is whole: a proxy does that whose upstream has gone."""
    return _half(events)


def _half_chunk(events: Events, _details: FaultDetails) -> Events:
    """Stop in the middle of a chunk."""
    kept = _half(events)
    return [*kept[:-1], kept[-1][: len(kept[-1]) // 2]]


def _bare_done(events: Events, _details: FaultDetails) -> Events:
    """Stop in the middle, and send the end mark all the same."""
    return [*_half(events), _DONE]


def _error(events: Events, _details: FaultDetails) -> Events:
    """Fail in the middle, as vLLM and OpenRouter say it: the status has long been 200."""
    error = {"error": {"message": "The engine died in the middle", "type": "server_error", "param": None, "code": 500}}
    return [*_half(events), _event(error), _DONE]


def _error_event(events: Events, _details: FaultDetails) -> Events:
    """Fail in the middle with an event of that name, as TGI does."""
    return [*_half(events), b'event: error\ndata: {"error":"Input is too heavy","error_type":"generation"}\n\n']


def _comments(events: Events, _details: FaultDetails) -> Events:
    """Say between the chunks that it is still there, as OpenRouter does, and what the standard permits besides."""
    return [b": PROCESSING\n\n", *(b": ping\nretry: 1000\nid: 7\n" + event for event in events)]


def _crlf(events: Events, _details: FaultDetails) -> Events:
    return [event.replace(b"\n", b"\r\n") for event in events]


def _cr(events: Events, _details: FaultDetails) -> Events:
    return [event.replace(b"\n", b"\r") for event in events]


def _byte_order_mark(events: Events, _details: FaultDetails) -> Events:
    return [b"\xef\xbb\xbf" + events[0], *events[1:]]


def _multiline(events: Events, _details: FaultDetails) -> Events:
    """Write each chunk over several data lines, an event name before it."""
    return [b"event: message\n" + event.replace(b',"', b'\ndata: ,"') for event in events]


def _one_newline(events: Events, _details: FaultDetails) -> Events:
    """Leave out the blank lines, and the last line's end."""
    return [*(event[:-1] for event in events[:-1]), events[-1].rstrip()]


def _no_done(events: Events, _details: FaultDetails) -> Events:
    return [event for event in events if event != _DONE]


def _huge_line(events: Events, details: FaultDetails) -> Events:
    """Give much text in one line."""
    huge = "huge" * (details.huge_bytes // 4)
    name, _, data = events[0].rpartition(b"data: ")
    if not name:
        chunk = orjson.loads(data)
        chunk["choices"][0]["delta"] = {"content": huge}
        return [events[0], _event(chunk), *events[1:]]
    last = orjson.loads(events[-1].rpartition(b"data: ")[2])
    last["response"]["output"].append({"type": "message", "content": [{"type": "output_text", "text": huge}]})
    return [*events[:-1], _named_event(last)]


def _as_it_is(events: Events, _details: FaultDetails) -> Events:
    return events


# `stream_ignored` answers with the whole answer, as a server that does not stream.
STREAM_SPOILS: Mapping[str, Callable[[Events, FaultDetails], Events]] = MappingProxyType(
    {
        "stream_end": _end,
        "stream_half_chunk": _half_chunk,
        "stream_bare_done": _bare_done,
        "stream_error": _error,
        "stream_error_event": _error_event,
        "stream_comments": _comments,
        "stream_crlf": _crlf,
        "stream_cr": _cr,
        "stream_bom": _byte_order_mark,
        "stream_multiline": _multiline,
        "stream_one_newline": _one_newline,
        "stream_no_done": _no_done,
        "stream_huge_line": _huge_line,
        "stream_ignored": _as_it_is,
    }
)

# What no client may take for an answer; of a reply that is not streamed they leave all as it is.
STREAM_ANSWERLESS = frozenset(
    {"stream_end", "stream_half_chunk", "stream_bare_done", "stream_error", "stream_error_event"},
)
