"""Owns the chunks of a text completion: pieces of `choices[].text` become the text that an answer in one piece has.

Shape: OpenAI API reference, "Create completion" (legacy), streamed: every chunk is a completion object of its own.
Gateways that call this endpoint an imitation of chat stream deltas of messages; these are assembled as chat's are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from runner.endpoints.chat_stream import ChatChoice
from runner.endpoints.choices_stream import ChoicesAnswer
from runner.endpoints.stream_request import ask_for_stream_and_usage
from runner.endpoints.streaming import StreamShape

_TEXTS = ("text", "reasoning_content", "reasoning")


class TextChoice:
    """One choice of a completion's stream."""

    __slots__ = ("_message", "_texts")

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._message: ChatChoice | None = None

    def add(self, piece: dict[str, Any]) -> bool:
        """Take in a piece; say whether it holds any text."""
        if isinstance(piece.get("delta"), dict):
            self._message = self._message or ChatChoice()
            return self._message.add(piece)
        output = False
        for name in _TEXTS:
            part = piece.get(name)
            if isinstance(part, str):
                self._texts.setdefault(name, []).append(part)
                output = output or bool(part)
        return output

    def finish(self) -> dict[str, Any]:
        """Return the texts, or the message where there were deltas of one."""
        whole: dict[str, Any] = {name: "".join(pieces) for name, pieces in self._texts.items()}
        if self._message is not None:
            return whole | self._message.finish()
        return {"text": None, **whole}


COMPLETION_STREAM = StreamShape(partial(ChoicesAnswer, "text_completion", TextChoice), ask_for_stream_and_usage)
