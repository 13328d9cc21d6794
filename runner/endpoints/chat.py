"""Owns the chat endpoint: which body a sample becomes, and which outputs a chat completion holds.

Shapes: OpenAI API reference, "Create chat completion" and "The chat completion object"; deviations of real servers
(`content: null`, a list of content parts, `reasoning_content`, `"refusal": "None"`, any `finish_reason`) are read too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.logprobs import read_chat_logprobs
from runner.endpoints.usage import read_usage
from runner.errors import MissingChoiceError, NoChoicesError, kind_of
from runner.jsontext import describe, dumps, loads
from runner.records import Output, Parsed

if TYPE_CHECKING:
    from runner.errors import RequestError

PATH = "/chat/completions"

_STATUS_BY_FINISH = {"length": "truncated", "max_tokens": "truncated", "content_filter": "content_filter"}
_DEFAULT_COMPLETION_TOKENS = 512
_ABOUT = ("model", "id", "system_fingerprint", "service_tier")
# A message with nothing but these holds a text and no more.
_PLAIN = frozenset({"role", "content"})


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
    """Read a chat completion. `cases` is 1 for chat. Raises ValueError when the body is no JSON object with choices."""
    value, note = loads(body)
    if find_problem(value) is not None:
        raise ValueError("the answer has no choices")
    notes = [note] if note else []
    outputs = _read_choices(value["choices"], choices, notes)
    model, own_id, fingerprint, tier = map(value.get, _ABOUT)
    return Parsed(
        outputs=(outputs,) * cases,
        usage=read_usage(value, notes),
        served_model=model if type(model) is str else None,
        response_id=own_id if type(own_id) is str else None,
        created=_seconds(value.get("created")),
        system_fingerprint=fingerprint if type(fingerprint) is str else None,
        service_tier=tier if type(tier) is str else None,
        notes=tuple(notes),
    )


def _read_choices(choices: list[Any], wanted: int, notes: list[str]) -> tuple[Output, ...]:
    if len(choices) == wanted == 1 and type(choices[0]) is dict and choices[0].get("index", 0) == 0:
        return (_read_choice(choices[0], 0, notes),)  # what nearly every answer is
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
    finish, content = choice.get("finish_reason"), message.get("content")
    text = content if type(content) is str else _content(content)
    if type(finish) is not str:
        finish = None
    error = choice.get("error")
    if error:  # some routers put an upstream failure into the choice
        message_text = describe(error, 500)
        return Output(index, "failed", text, finish_reason=finish, error_kind="server", error_message=message_text)
    status = _STATUS_BY_FINISH.get(finish or "", "ok")
    logprobs = choice.get("logprobs")
    if logprobs is not None:
        logprobs = read_chat_logprobs(logprobs, notes)
    if message.keys() <= _PLAIN:
        return Output(index, status, text, finish_reason=finish, logprobs=logprobs)
    refusal = _refusal(message.get("refusal"))
    return Output(
        choice=index,
        status="refused" if refusal and status == "ok" else status,
        text=text,
        reasoning=_text(message.get("reasoning_content")) or _text(message.get("reasoning")),
        refusal=refusal,
        tool_calls=_tool_calls(message),
        finish_reason=finish,
        audio_transcript=_transcript(message),
        logprobs=logprobs,
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


def _content(content: Any) -> str | None:
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
