"""Owns the chunks of a chat completion: deltas become the message that an answer without streaming has.

Shape: OpenAI API reference, "The chat completion chunk object", `choices[].delta`. Also met: `reasoning_content` and
`reasoning`; tool calls without an index, or all with index 0, each whole (Gemini, Ollama); a name or an id in every
piece; arguments as an object; content as a list of parts (Mistral); a whole `message` in place of a delta.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from runner.endpoints.choices_stream import ChoicesAnswer
from runner.endpoints.stream_request import ask_for_stream_and_usage
from runner.endpoints.streaming import StreamShape

_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
_WORDLESS = "None"  # how some servers write null, in every chunk
_MOST_FIELDS = 64


class ChatChoice:
    """One choice of a chat stream."""

    __slots__ = ("_calls", "_fields", "_function", "_parts", "_texts", "_transcript")

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._parts: list[Any] | None = None
        self._calls = _ToolCalls()
        self._function: _Function | None = None
        self._transcript: list[str] | None = None
        self._fields: dict[str, Any] = {}

    def add(self, piece: dict[str, Any]) -> bool:
        """Take in a delta; say whether it holds content, reasoning, a refusal, audio or part of a call."""
        delta = piece.get("delta")
        if not isinstance(delta, dict):
            delta = piece.get("message")
            if not isinstance(delta, dict):
                return False
        output = False
        for name, part in delta.items():
            if part is not None:
                output = self._add(name, part) or output
        return output

    def finish(self) -> dict[str, Any]:
        """Return the message."""
        message: dict[str, Any] = {"role": "assistant", "content": None, **self._fields}
        for name, pieces in self._texts.items():
            message[name] = _WORDLESS if {*pieces} == {_WORDLESS} else "".join(pieces)
        if self._parts is not None:
            message["content"] = self._parts
        if calls := self._calls.finish():
            message["tool_calls"] = calls
        if self._function is not None:
            message["function_call"] = self._function.finish()
        if self._transcript is not None:
            message["audio"] = {"transcript": "".join(self._transcript)}
        if message["content"] == "" and any(
            message.get(name) for name in ("refusal", "tool_calls", "function_call", "audio")
        ):
            message["content"] = None  # the empty text came along with the role
        return {"message": message}

    def _add(self, name: str, part: Any) -> bool:
        if name in _TEXTS:
            return self._add_text(name, part)
        if name == "tool_calls":
            return self._calls.add(part)
        if name == "function_call" and isinstance(part, dict):
            self._function = self._function or _Function()
            return self._function.add(part)
        if name == "audio" and isinstance(part, dict):
            return self._add_audio(part)
        if name in self._fields or len(self._fields) < _MOST_FIELDS:
            self._fields[name] = part
        return False

    def _add_text(self, name: str, part: Any) -> bool:
        if name == "content" and isinstance(part, list):
            self._open_parts().extend(part)
            return bool(part)
        if not isinstance(part, str):
            return False
        if name == "content" and self._parts is not None:
            self._parts.append({"type": "text", "text": part})
        else:
            self._texts.setdefault(name, []).append(part)
        return bool(part) and not (name == "refusal" and part == _WORDLESS)

    def _open_parts(self) -> list[Any]:
        if self._parts is None:
            before = "".join(self._texts.pop("content", ()))
            self._parts = [{"type": "text", "text": before}] if before else []
        return self._parts

    def _add_audio(self, audio: dict[str, Any]) -> bool:
        transcript = audio.get("transcript")
        if isinstance(transcript, str):
            self._transcript = self._transcript or []
            self._transcript.append(transcript)
        return bool(transcript or audio.get("data"))


class _Function:
    """A function's name and arguments as they arrive."""

    __slots__ = ("_fields", "_pieces")

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._pieces: dict[str, list[str]] = {}

    def add(self, piece: dict[str, Any]) -> bool:
        for name, part in piece.items():
            if part is None:
                continue
            if isinstance(part, str):
                self._fields.setdefault(name, "")
                pieces = self._pieces.setdefault(name, [])
                if not (name == "name" and pieces == [part]):  # some servers say it in every piece
                    pieces.append(part)
            else:
                self._fields[name] = part
        return bool(self._fields)

    def finish(self) -> dict[str, Any]:
        return {**self._fields, **{name: "".join(pieces) for name, pieces in self._pieces.items()}}


class _ToolCall:
    """One tool call: `function`, or `custom` with its `input`, grows; of all else the first value holds."""

    __slots__ = ("_fields", "_grown", "place")

    def __init__(self, place: tuple[int, int]) -> None:
        self.place = place
        self._fields: dict[str, Any] = {}
        self._grown: dict[str, _Function] = {}

    def add(self, piece: dict[str, Any]) -> None:
        for name, part in piece.items():
            if part is None or name == "index":
                continue
            if name in {"function", "custom"} and isinstance(part, dict):
                self._fields.setdefault(name, None)
                self._grown.setdefault(name, _Function()).add(part)
            elif not self._fields.get(name):
                self._fields[name] = part

    def is_another(self, piece: dict[str, Any]) -> bool:
        """Say whether a piece begins another call although it has this one's index: another id, and a name."""
        known, own = self._fields.get("id"), piece.get("id")
        return bool(known and own and known != own and _has_name(piece))

    def has_id(self, own: Any) -> bool:
        return bool(own) and self._fields.get("id") == own

    def finish(self) -> dict[str, Any]:
        return self._fields | {name: grown.finish() for name, grown in self._grown.items()}


class _ToolCalls:
    """The calls of one choice, in the order of their indexes."""

    __slots__ = ("_all", "_by_index")

    def __init__(self) -> None:
        self._all: list[_ToolCall] = []
        self._by_index: dict[int, _ToolCall] = {}

    def add(self, pieces: Any) -> bool:
        found = [piece for piece in pieces if isinstance(piece, dict)] if isinstance(pieces, list) else []
        for piece in found:
            self._call_of(piece).add(piece)
        return bool(found)

    def finish(self) -> list[dict[str, Any]]:
        return [call.finish() for call in sorted(self._all, key=lambda call: call.place)]

    def _call_of(self, piece: dict[str, Any]) -> _ToolCall:
        index = piece.get("index")
        if type(index) is int and index >= 0:
            known = self._by_index.get(index)
            if known is None or known.is_another(piece):
                known = self._by_index[index] = self._open(index)
            return known
        last = self._all[-1] if self._all else None
        begins = _has_name(piece) if piece.get("id") is None else not (last and last.has_id(piece["id"]))
        return self._open(len(self._all)) if last is None or begins else last

    def _open(self, index: int) -> _ToolCall:
        self._all.append(_ToolCall((index, len(self._all))))
        return self._all[-1]


def _has_name(piece: dict[str, Any]) -> bool:
    function = piece.get("function")
    return isinstance(function, dict) and bool(function.get("name"))


CHAT_STREAM = StreamShape(partial(ChoicesAnswer, "chat.completion", ChatChoice), ask_for_stream_and_usage)
