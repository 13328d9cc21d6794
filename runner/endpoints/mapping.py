"""Owns the response half of an adapter: what its expressions find in a body, as texts, usage and errors.

A body is hostile: an expression that does not fit it finds nothing, and nothing here raises but for a body without an
answer. The plain values that a mapping is made of are those of `response` and `errors` in an adapter file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.endpoints.answers import missing_choice
from runner.endpoints.found import as_refusal, as_text, as_word, find_in
from runner.endpoints.mapped_body import OF_TEXTS, BodyReader
from runner.endpoints.mapped_errors import UNMAPPED, ErrorReader
from runner.endpoints.mapped_lists import LogprobReader, RetrievedReader
from runner.endpoints.mapped_vectors import VectorReader
from runner.endpoints.reasoning import note_reasoning
from runner.endpoints.tree import is_true
from runner.errors import NoChoicesError, ServerError, kind_of
from runner.jsontext import describe, dumps, loads
from runner.records import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.errors import RequestError
    from runner.records import Parsed, Retrieved, Usage

    Load = Callable[[bytes], tuple[Any, str | None]]
    Refine = Callable[[RequestError, bytes], RequestError]
    InBody = Callable[[Any], RequestError | None]

STATUS_BY_FINISH = {"length": "truncated", "max_tokens": "truncated", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True)
class ResponseMapping:
    """A compiled response half: functions as `Endpoint` has them."""

    find_problem: Callable[[Any], RequestError | None]
    parse: Callable[[bytes, int, int], Parsed]
    count_tokens: Callable[[Any], Usage]
    refine: Callable[[RequestError, bytes], RequestError] | None
    error_in_body: Callable[[Any], RequestError | None] | None


def compile_texts(response: Mapping[str, Any], errors: Mapping[str, Any], load: Load = loads) -> ResponseMapping:
    """Compile a response half that was validated before, for answers that are texts.

    `load(bytes)` gives a body's value and a note, as `jsontext.loads` does; so streams are put together.
    """
    return _mapping(_Reader(response, load), errors)


def compile_vectors(response: Mapping[str, Any], errors: Mapping[str, Any]) -> ResponseMapping:
    """Compile a response half that was validated before, for answers that are vectors."""
    return _mapping(VectorReader(response), errors)


def compile_errors(errors: Mapping[str, Any]) -> tuple[Refine | None, InBody | None]:
    """Compile what an adapter says of errors: of an answer's status, and inside a 2xx; null where it says nothing."""
    refining = any(errors.get(name) for name in ("by_status", "by_code", "message"))
    judge = ErrorReader(errors)
    return judge.refine if refining else None, judge.in_body if errors.get("in_body") is not None else None


def _mapping(reader: _Reader | VectorReader, errors: Mapping[str, Any]) -> ResponseMapping:
    refine, in_body = compile_errors(errors)
    return ResponseMapping(
        find_problem=reader.find_problem,
        parse=reader.parse,
        count_tokens=reader.body.usage.count,
        refine=refine,
        error_in_body=in_body,
    )


class _Reader:
    """Reads answers: the expressions of `response`, compiled."""

    def __init__(self, response: Mapping[str, Any], load: Load) -> None:
        self.load = load
        self.choices = None if response.get("choices") is None else find_in(response, "choices")
        self.text_expression = response.get("text")
        self.find = {name: find_in(response, name) for name in _CHOICE_NAMES}
        self.status = {**STATUS_BY_FINISH, **(response.get("status") or {})}
        self.logprobs = LogprobReader(response["logprobs"]) if response.get("logprobs") else None
        self.retrieved = RetrievedReader(response["retrieved"]) if response.get("retrieved") else None
        self.body = BodyReader(response, OF_TEXTS)

    def find_problem(self, body: Any) -> RequestError | None:
        """Say what keeps a 2xx JSON body from being an answer; null when it is one."""
        if self.choices is None:
            found = [body]
        else:
            found = self.choices(body)
            if not isinstance(found, list) or not found:
                return NoChoicesError(
                    "response.choices of the adapter finds no choices in the 2xx answer", hint=UNMAPPED
                )
        if any(self._holds(choice) for choice in found):
            return None
        message = f"response.text of the adapter (`{self.text_expression}`) finds nothing in the 2xx answer"
        return NoChoicesError(message, hint=UNMAPPED)

    def parse(self, body: bytes, cases: int, choices: int) -> Parsed:
        """Read an answer. Raises ValueError when the body cannot be read, or holds no answer for this mapping."""
        value, note = self.load(body)
        problem = self.find_problem(value)
        if problem is not None:
            raise ValueError(problem.message)
        notes = [note] if note else []
        found = [value] if self.choices is None else self.choices(value)
        retrieved = self.retrieved.read(value, notes) if self.retrieved else None
        outputs = self._read_choices(found, choices, retrieved, notes)
        return note_reasoning(self.body.parsed(value, (outputs,) * cases, notes))

    def _holds(self, choice: Any) -> bool:
        """Say whether a choice holds an answer: something was said, or the server's word says why nothing was."""
        if self.find["text"](choice) is not None or any(is_true(self.find[name](choice)) for name in _BESIDE_TEXT):
            return True
        return self._status(as_word(self.find["finish_reason"](choice))) != "ok"

    def _status(self, finish: str | None) -> str:
        return self.status.get(finish, "ok") if finish is not None else "ok"

    def _read_choices(
        self, found: list[Any], wanted: int, retrieved: list[Retrieved] | None, notes: list[str]
    ) -> tuple[Output, ...]:
        by_index: dict[int, Output] = {}
        for position, choice in enumerate(found):
            index = self.find["index"](choice)
            if type(index) is not int or index in by_index or not 0 <= index < max(wanted, len(found)):
                index = position if position not in by_index else max(by_index) + 1
            by_index[index] = self._read_choice(choice, index, retrieved, notes)
        if len(by_index) > wanted:
            notes.append(f"{len(by_index)} choices for {wanted} asked for")
        count = max(wanted, max(by_index) + 1)
        return tuple(by_index.get(index) or missing_choice(index) for index in range(count))

    def _read_choice(self, choice: Any, index: int, retrieved: list[Retrieved] | None, notes: list[str]) -> Output:
        find = self.find
        finish = as_word(find["finish_reason"](choice))
        text = as_text(find["text"](choice), "text", notes)
        if is_true(error := find["error"](choice)):
            kind = kind_of(ServerError)
            return Output(
                index, "failed", text, finish_reason=finish, error_kind=kind, error_message=describe(error, 500)
            )
        if not self._holds(choice):
            message = f"response.text of the adapter (`{self.text_expression}`) finds nothing in this choice"
            kind = kind_of(NoChoicesError)
            return Output(index, "failed", finish_reason=finish, error_kind=kind, error_message=message)
        status = self._status(finish)
        refusal = as_refusal(find["refusal"](choice), notes)
        calls = find["tool_calls"](choice)
        return Output(
            choice=index,
            status="refused" if refusal and status == "ok" else status,
            text=text,
            reasoning=as_text(find["reasoning"](choice), "reasoning", notes) or None,
            refusal=refusal,
            tool_calls=dumps(calls) if is_true(calls) else None,
            finish_reason=finish,
            audio_transcript=as_text(find["audio_transcript"](choice), "audio_transcript", notes),
            logprobs=self.logprobs.read(choice, notes) if self.logprobs else None,
            retrieved=retrieved,
        )


_BESIDE_TEXT = ("tool_calls", "refusal", "reasoning", "audio_transcript", "error")
_CHOICE_NAMES = ("text", *_BESIDE_TEXT, "index", "finish_reason")
