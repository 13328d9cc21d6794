"""Owns the response half of an adapter: what its expressions find in a body, as outputs, usage and errors.

A body is hostile: an expression that does not fit it finds nothing, and nothing here raises but for a body without an
answer. The plain values that a mapping is made of are those of `response` and `errors` in an adapter file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.endpoints.expressions import compile_expression
from runner.endpoints.logprobs import read_chat_logprobs
from runner.endpoints.tree import is_true
from runner.errors import (
    MissingChoiceError,
    NoChoicesError,
    ServerError,
    kind_of,
    request_errors,
)
from runner.jsontext import describe, dumps, loads
from runner.records import Output, Parsed, Retrieved, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.errors import (
        RequestError,
    )

    Find = Callable[[Any], Any]

STATUS_BY_FINISH = {"length": "truncated", "max_tokens": "truncated", "content_filter": "content_filter"}
# The errors that an answer of a server can stand for.
ANSWERED = (
    *("auth", "bad_request", "context_length", "model_not_found", "not_found", "overload", "permission_denied"),
    *("quota", "rate_limit", "request_timeout", "request_too_large", "server"),
)
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
_MAX_INT64 = 2**63 - 1
_MAX_INT32 = 2**31 - 1
_LONGEST_MESSAGE = 300
_HINT = "does response in the adapter fit what the server sends? `evalrunner check CONFIG` shows both"


def _nothing(_: Any) -> None:
    return None


def _itself(value: Any) -> Any:
    return value


def _find(section: Mapping[str, Any], name: str, otherwise: Find = _nothing) -> Find:
    text = section.get(name)
    return otherwise if text is None else compile_expression(text).find


@dataclass(frozen=True, slots=True)
class ResponseMapping:
    """A compiled response half: functions as `Endpoint` has them, and what each expression finds, for the check."""

    find_problem: Callable[[Any], RequestError | None]
    parse: Callable[[bytes, int, int], Parsed]
    count_tokens: Callable[[Any], Usage]
    refine: Callable[[RequestError, bytes], RequestError] | None
    error_in_body: Callable[[Any], RequestError | None] | None


def compile_response(response: Mapping[str, Any], errors: Mapping[str, Any]) -> ResponseMapping:
    """Compile a response half that was validated before."""
    reader = _Reader(response)
    in_body = errors.get("in_body")
    refining = any(errors.get(name) for name in ("by_status", "by_code", "message"))
    judge = _ErrorReader(errors)
    return ResponseMapping(
        find_problem=reader.find_problem,
        parse=reader.parse,
        count_tokens=reader.usage.count,
        refine=judge.refine if refining else None,
        error_in_body=judge.in_body if in_body is not None else None,
    )


class _Reader:
    """Reads answers: the expressions of `response`, compiled."""

    def __init__(self, response: Mapping[str, Any]) -> None:
        self.choices = None if response.get("choices") is None else _find(response, "choices")
        self.text_expression = response.get("text")
        self.find = {name: _find(response, name) for name in _CHOICE_NAMES}
        self.of_body = {name: _find(response, name) for name in _BODY_NAMES}
        self.status = {**STATUS_BY_FINISH, **(response.get("status") or {})}
        self.logprobs = _LogprobReader(response["logprobs"]) if response.get("logprobs") else None
        self.retrieved = _RetrievedReader(response["retrieved"]) if response.get("retrieved") else None
        self.usage = _UsageReader(response.get("usage") or {})

    def find_problem(self, body: Any) -> RequestError | None:
        """Say what keeps a 2xx JSON body from being an answer; null when it is one."""
        if self.choices is None:
            found = [body]
        else:
            found = self.choices(body)
            if not isinstance(found, list) or not found:
                return NoChoicesError("response.choices of the adapter finds no choices in the 2xx answer", hint=_HINT)
        if any(self._holds(choice) for choice in found):
            return None
        message = f"response.text of the adapter (`{self.text_expression}`) finds nothing in the 2xx answer"
        return NoChoicesError(message, hint=_HINT)

    def parse(self, body: bytes, cases: int, choices: int) -> Parsed:
        """Read an answer. Raises ValueError when the body is no JSON, or holds no answer for this mapping."""
        value, note = loads(body)
        problem = self.find_problem(value)
        if problem is not None:
            raise ValueError(problem.message)
        notes = [note] if note else []
        found = [value] if self.choices is None else self.choices(value)
        retrieved = self.retrieved.read(value, notes) if self.retrieved else None
        outputs = self._read_choices(found, choices, retrieved, notes)
        return Parsed(
            outputs=(outputs,) * cases,
            usage=self.usage.read(value, notes),
            served_model=_word(self.of_body["model"](value)),
            response_id=_word(self.of_body["id"](value)),
            created=_seconds(self.of_body["created"](value)),
            system_fingerprint=_word(self.of_body["system_fingerprint"](value)),
            service_tier=_word(self.of_body["service_tier"](value)),
            notes=tuple(notes),
        )

    def _holds(self, choice: Any) -> bool:
        """Say whether a choice holds an answer: something was said, or the server's word says why nothing was."""
        if self.find["text"](choice) is not None or any(is_true(self.find[name](choice)) for name in _BESIDE_TEXT):
            return True
        return self._status(_word(self.find["finish_reason"](choice))) != "ok"

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
        return tuple(by_index.get(index) or _missing(index) for index in range(count))

    def _read_choice(self, choice: Any, index: int, retrieved: list[Retrieved] | None, notes: list[str]) -> Output:
        find = self.find
        finish = _word(find["finish_reason"](choice))
        text = _text(find["text"](choice), "text", notes)
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
        refusal = _refusal(find["refusal"](choice), notes)
        calls = find["tool_calls"](choice)
        return Output(
            choice=index,
            status="refused" if refusal and status == "ok" else status,
            text=text,
            reasoning=_text(find["reasoning"](choice), "reasoning", notes) or None,
            refusal=refusal,
            tool_calls=dumps(calls) if is_true(calls) else None,
            finish_reason=finish,
            audio_transcript=_text(find["audio_transcript"](choice), "audio_transcript", notes),
            logprobs=self.logprobs.read(choice, notes) if self.logprobs else None,
            retrieved=retrieved,
        )


_BESIDE_TEXT = ("tool_calls", "refusal", "reasoning", "audio_transcript", "error")
_CHOICE_NAMES = ("text", *_BESIDE_TEXT, "index", "finish_reason")
_BODY_NAMES = ("model", "id", "created", "system_fingerprint", "service_tier")


class _UsageReader:
    """Reads token counts: the expressions of `response.usage`."""

    def __init__(self, usage: Mapping[str, Any]) -> None:
        self._find = {name: _find(usage, name) for name in _COUNTS}
        self._raw = _find(usage, "raw")
        self._any = any(usage.get(name) is not None for name in _COUNTS)

    def count(self, body: Any) -> Usage:
        """Return the token counts and nothing else."""
        return self._counts(body, [], None) if self._any else Usage()

    def read(self, body: Any, notes: list[str]) -> Usage:
        """Return the token counts with the server's own object; what is no count is null with a note."""
        if not self._any:
            return Usage()
        raw = self._raw(body)
        usage = self._counts(body, notes, None if raw is None else dumps(raw))
        if usage.raw is None and usage.total_tokens is not None:
            # Without an object of the server's own, what was found stands for it.
            return self._counts(body, [], dumps({name: getattr(usage, name) for name in _COUNTS}))
        return usage

    def _counts(self, body: Any, notes: list[str], raw: str | None) -> Usage:
        found = {name: _count(find(body), name, notes) for name, find in self._find.items()}
        prompt, completion = found["prompt_tokens"], found["completion_tokens"]
        if found["total_tokens"] is None and prompt is not None and completion is not None:
            found["total_tokens"] = prompt + completion
        return Usage(**found, raw=raw)


class _LogprobReader:
    """Reads log probabilities: a list of entries, or lists side by side, into the shape of chat."""

    def __init__(self, logprobs: Mapping[str, Any]) -> None:
        self._entries = _find(logprobs, "entries")
        self._token, self._logprob = _find(logprobs, "token"), _find(logprobs, "logprob")
        self._bytes, self._top = _find(logprobs, "bytes"), _find(logprobs, "top")
        self._tokens, self._token_logprobs = _find(logprobs, "tokens"), _find(logprobs, "token_logprobs")
        self._top_lists = _find(logprobs, "top_lists")
        self._top_token = _find(logprobs, "top_token", self._token)
        self._top_logprob = _find(logprobs, "top_logprob", self._logprob)

    def read(self, choice: Any, notes: list[str]) -> Any:
        """Return the flat lists, or null where the choice has none."""
        entries = self._entries(choice)
        if not isinstance(entries, list):
            tokens, logprobs = self._tokens(choice), self._token_logprobs(choice)
            if not isinstance(tokens, list):
                return None
            logprobs = logprobs if isinstance(logprobs, list) else []
            if len(logprobs) != len(tokens):
                notes.append(f"{len(tokens)} tokens and {len(logprobs)} log probabilities")
            made = [{"token": token, "logprob": _at(logprobs, place)} for place, token in enumerate(tokens)]
        else:
            made = [
                {"token": self._token(entry), "logprob": self._logprob(entry), "bytes": self._bytes(entry)}
                for entry in entries
            ]
        top_lists = self._top_lists(choice)
        for place, one in enumerate(made):
            top = self._top(entries[place]) if isinstance(entries, list) else None
            one["top_logprobs"] = self._tops(_at(top_lists, place) if top is None else top)
        return read_chat_logprobs({"content": made}, notes)

    def _tops(self, top: Any) -> list[dict[str, Any]]:
        if isinstance(top, dict):  # token: log probability, as text completions have it
            return [{"token": token, "logprob": logprob} for token, logprob in top.items()]
        if not isinstance(top, list):
            return []
        return [{"token": self._top_token(one), "logprob": self._top_logprob(one)} for one in top]


class _RetrievedReader:
    """Reads the documents that a RAG system looked up."""

    def __init__(self, retrieved: Mapping[str, Any]) -> None:
        self._list = _find(retrieved, "list")
        self._find = {name: _find(retrieved, name) for name in ("rank", "id", "score", "text")}

    def read(self, body: Any, notes: list[str]) -> list[Retrieved] | None:
        """Return the documents in the server's order, ranked from 1 where it states no rank; null without a list."""
        found = self._list(body)
        if not isinstance(found, list):
            return None
        return [self._document(one, position, notes) for position, one in enumerate(found, start=1)]

    def _document(self, one: Any, position: int, notes: list[str]) -> Retrieved:
        rank, score = self._find["rank"](one), self._find["score"](one)
        return Retrieved(
            rank=rank if type(rank) is int and abs(rank) <= _MAX_INT32 else position,
            id=_word(self._find["id"](one)),
            score=float(score) if type(score) in {int, float} and _is_finite(score) else None,
            text=_text(self._find["text"](one), "retrieved.text", notes),
        )


class _ErrorReader:
    """Reads errors: the expressions and tables of `errors`."""

    def __init__(self, errors: Mapping[str, Any]) -> None:
        kinds = request_errors()
        self._by_status = {int(status): kinds[name] for status, name in (errors.get("by_status") or {}).items()}
        self._by_code = {code.lower(): kinds[name] for code, name in (errors.get("by_code") or {}).items()}
        self._code, self._message = _find(errors, "code"), _find(errors, "message")
        self._in_body = _find(errors, "in_body")

    def refine(self, error: RequestError, body: bytes) -> RequestError:
        """Return a failed answer's error as the adapter sees it: its class by code, else by status; its own message."""
        try:
            value, _ = loads(body)
        except ValueError:
            value = None
        status = error.http_status or 0
        kind = self._kind(value) or self._by_status.get(status)
        said = _said(self._message(value))
        message = f"HTTP {status}: {said}"[:_LONGEST_MESSAGE] if said else error.message
        if kind is None or kind is type(error):
            kind, hint = type(error), error.hint
        else:
            hint = f"the adapter's errors say that this is {kind_of(kind)}"
        return kind(message, hint=hint, http_status=error.http_status, retry_after_s=error.retry_after_s)

    def in_body(self, body: Any) -> RequestError | None:
        """Return the error that the body of a 2xx holds in place of an answer."""
        if not is_true(self._in_body(body)):
            return None
        said = _said(self._message(body)) or "no text"
        kind = self._kind(body) or ServerError
        return kind(f"HTTP 200 with an error: {said}"[:_LONGEST_MESSAGE], http_status=200)

    def _kind(self, body: Any) -> type[RequestError] | None:
        code = self._code(body)
        return self._by_code.get(str(code).lower()) if isinstance(code, str | int) else None


def read_embeddings(
    mapping: Mapping[str, Any], body: Any, wanted: int, notes: list[str]
) -> tuple[list[float | None] | None, ...]:
    """Return `wanted` vectors in the order of the inputs; null for one that the body lacks.

    `mapping` is `response.embeddings`: `list` finds the vectors' entries, `vector` and `index` are looked up in each.
    """
    found = _find(mapping, "list")(body)
    vector_of, index_of = _find(mapping, "vector", _itself), _find(mapping, "index")
    vectors: dict[int, list[float | None]] = {}
    for position, entry in enumerate(found if isinstance(found, list) else ()):
        index = index_of(entry)
        if type(index) is not int or index in vectors or not 0 <= index < wanted:
            index = position
        vector = vector_of(entry)
        if not isinstance(vector, list) or index >= wanted:
            notes.append(f"embedding {position} is {'one too many' if isinstance(vector, list) else 'no list'}")
            continue
        vectors.setdefault(index, [_number(one) for one in vector])
    return tuple(vectors.get(index) for index in range(wanted))


def _number(value: Any) -> float | None:
    return float(value) if type(value) in {int, float} and _is_finite(value) else None


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _at(values: Any, place: int) -> Any:
    return values[place] if isinstance(values, list) and place < len(values) else None


def _missing(index: int) -> Output:
    message = "the server returned fewer choices than were asked for"
    return Output(index, "failed", error_kind=kind_of(MissingChoiceError), error_message=message)


def _text(value: Any, name: str, notes: list[str]) -> str | None:
    """Return a text; the texts of a list are joined, and anything else is kept as JSON, with a note."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "".join(value) if value else None
    notes.append(f"{name} is no text but JSON")
    return dumps(value)


def _refusal(value: Any, notes: list[str]) -> str | None:
    text = _text(value, "refusal", notes)
    return text if text and text != "None" else None


def _word(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return dumps(value) if type(value) in {int, float} else None


def _said(value: Any) -> str:
    if value is None or value == "":
        return ""
    text = describe(value, 4096)
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _seconds(value: Any) -> int | None:
    return int(value) if type(value) in {int, float} and 0 < value < 2**33 else None


def _count(value: Any, name: str, notes: list[str]) -> int | None:
    if value is None:
        return None
    if type(value) is int and 0 <= value <= _MAX_INT64:
        return value
    if isinstance(value, float) and value.is_integer() and 0 <= value <= 2**53:
        return int(value)
    notes.append(f"usage.{name} is not a count")
    return None
