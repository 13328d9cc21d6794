"""Owns the chat endpoint: which body a sample becomes, and which outputs a chat completion holds.

Shapes: OpenAI API reference, "Create chat completion" and "The chat completion object"; deviations of real servers
(`content: null`, a list of content parts, `reasoning_content`, `"refusal": "None"`, any `finish_reason`) are read too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.chat_stream import CHAT_STREAM
from runner.endpoints.logprobs import read_chat_logprobs
from runner.endpoints.usage import read_usage
from runner.errors import MissingChoiceError, NoChoicesError, kind_of
from runner.jsontext import describe, dumps
from runner.records import Output, Parsed

if TYPE_CHECKING:
    from runner.errors import RequestError

PATH = "/chat/completions"

_STATUS_BY_FINISH = {"length": "truncated", "max_tokens": "truncated", "content_filter": "content_filter"}
_DEFAULT_COMPLETION_TOKENS = 512


def choices_wanted(body: dict[str, Any]) -> int:
    """Return how many choices a request body asks for."""
    n = body.get("n")
    return n if type(n) is int and n > 1 else 1


def reserve_tokens(body: dict[str, Any], size_bytes: int) -> int:
    """Estimate the tokens a request will be charged: four bytes a prompt token, and the longest answer it allows."""
    longest = body.get("max_completion_tokens") or body.get("max_tokens")
    completion = longest if isinstance(longest, int) else _DEFAULT_COMPLETION_TOKENS
    return size_bytes // 4 + completion * choices_wanted(body)


def find_problem(body: Any) -> RequestError | None:
    """Say what keeps a 2xx JSON body from being an answer; null when it is one."""
    if isinstance(body, dict) and isinstance(body.get("choices"), list) and body["choices"]:
        return None
    return NoChoicesError(
        "the server's 2xx answer has no choices",
        hint="is model.base_url an OpenAI-compatible chat endpoint? `evalrunner check CONFIG` shows what it answers",
    )


def parse(body: bytes, cases: int, choices: int) -> Parsed:
    """Read a chat completion, streamed or not; `cases` is 1. Raises ValueError for what is no object with choices."""
    value, note = CHAT_STREAM.read(body)
    if find_problem(value) is not None:
        raise ValueError("the answer has no choices")
    notes = [note] if note else []
    outputs = _read_choices(value["choices"], choices, notes)
    return Parsed(
        outputs=(outputs,) * cases,
        usage=read_usage(value, notes),
        served_model=_text(value.get("model")),
        response_id=_text(value.get("id")),
        created=_seconds(value.get("created")),
        system_fingerprint=_text(value.get("system_fingerprint")),
        service_tier=_text(value.get("service_tier")),
        notes=tuple(notes),
    )


def _read_choices(choices: list[Any], wanted: int, notes: list[str]) -> tuple[Output, ...]:
    by_index: dict[int, Output] = {}
    for position, choice in enumerate(choices):
        if not isinstance(choice, dict):
            notes.append(f"choice {position} is not an object")
            continue
        index = choice.get("index")
        if type(index) is not int or index < 0 or index in by_index or index >= max(wanted, len(choices)):
            index = position if position not in by_index else max(by_index) + 1
        by_index[index] = _read_choice(choice, index, notes)
    if len(by_index) > wanted:
        notes.append(f"{len(by_index)} choices for {wanted} asked for")
    count = max(wanted, max(by_index, default=-1) + 1)
    return tuple(by_index.get(index) or _missing(index) for index in range(count))


def _read_choice(choice: dict[str, Any], index: int, notes: list[str]) -> Output:
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {}
        notes.append(f"choice {index} has no message")
    finish = _text(choice.get("finish_reason"))
    refusal = _refusal(message.get("refusal"))
    error = choice.get("error")
    if error:  # some routers put an upstream failure into the choice
        return Output(
            choice=index,
            status="failed",
            text=_content(message),
            finish_reason=finish,
            error_kind="server",
            error_message=describe(error, 500),
        )
    status = _STATUS_BY_FINISH.get(finish or "", "ok")
    return Output(
        choice=index,
        status="refused" if refusal and status == "ok" else status,
        text=_content(message),
        reasoning=_text(message.get("reasoning_content")) or _text(message.get("reasoning")),
        refusal=refusal,
        tool_calls=_tool_calls(message),
        finish_reason=finish,
        audio_transcript=_transcript(message),
        logprobs=read_chat_logprobs(choice.get("logprobs"), notes),
    )


def _missing(index: int) -> Output:
    return Output(
        choice=index,
        status="failed",
        error_kind=kind_of(MissingChoiceError),
        error_message="the server returned fewer choices than were asked for",
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: Any) -> int | None:
    return int(value) if type(value) in {int, float} and 0 < value < 2**33 else None


def _content(message: dict[str, Any]) -> str | None:
    content = message.get("content")
    if isinstance(content, list):  # content parts, as some servers answer in the shape of a request
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return _text(content)


def _refusal(value: Any) -> str | None:
    return value if isinstance(value, str) and value and value != "None" else None


def _tool_calls(message: dict[str, Any]) -> str | None:
    calls = message.get("tool_calls")
    if not calls and message.get("function_call"):  # the older name for a single call
        calls = [{"type": "function", "function": message["function_call"]}]
    return dumps(calls) if calls else None


def _transcript(message: dict[str, Any]) -> str | None:
    audio = message.get("audio")
    return _text(audio.get("transcript")) if isinstance(audio, dict) else None
