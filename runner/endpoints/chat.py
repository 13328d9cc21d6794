"""Owns the chat endpoint: which body a sample becomes, and which outputs a chat completion holds.

Shapes: OpenAI API reference, "Create chat completion" and "The chat completion object"; deviations of real servers
(`content: null`, a list of content parts, `reasoning_content`, `"refusal": "None"`, any `finish_reason`) are read too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.answers import missing_choice, parsed_from, status_of, text_or_none
from runner.endpoints.chat_stream import CHAT_STREAM
from runner.endpoints.logprobs import read_logprobs
from runner.endpoints.reasoning import note_reasoning
from runner.endpoints.retrieved import PLACES, read_beside, read_in_message
from runner.errors import NoChoicesError
from runner.jsontext import describe, dumps
from runner.records import Output

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.records import Parsed, Retrieved

PATH = "/chat/completions"

_DEFAULT_COMPLETION_TOKENS = 512
# A message with nothing but these holds a text and no more.
_PLAIN = frozenset({"role", "content"})
_DEFAULT_TOP_LOGPROBS = 5


def compose(messages: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return the body, but for the model, of messages and parameters; all of it may hold templates."""
    return {"messages": messages, **params}


def compose_with_logprobs(messages: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return the body with log probabilities asked for whatever the parameters say, with 5 alternatives by default."""
    return {"messages": messages, "top_logprobs": _DEFAULT_TOP_LOGPROBS, **params, "logprobs": True}


def asks_for_logprobs(body: dict[str, Any]) -> bool:
    """Say whether a body asks for log probabilities; one whose flag is a template may."""
    return body.get("logprobs") not in (None, False)


def longest_answer(body: dict[str, Any]) -> int | None:
    """Return the most tokens that one answer may have; null where the body does not say."""
    longest = body.get("max_completion_tokens") or body.get("max_tokens")
    return longest if isinstance(longest, int) else None


def choices_wanted(body: dict[str, Any]) -> int:
    """Return how many choices a request body asks for."""
    n = body.get("n")
    return n if type(n) is int and n > 1 else 1


def reserve_tokens(body: dict[str, Any], size_bytes: int) -> int:
    """Estimate the tokens a request will be charged: four bytes a prompt token, and the longest answer it allows."""
    longest = longest_answer(body)
    completion = _DEFAULT_COMPLETION_TOKENS if longest is None else longest
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
    retrieved = None if PLACES.isdisjoint(value) else read_beside(value, notes)
    outputs = _read_choices(value["choices"], choices, retrieved, notes)
    return note_reasoning(parsed_from(value, (outputs,) * cases, notes))


def _read_choices(
    choices: list[Any], wanted: int, retrieved: list[Retrieved] | None, notes: list[str]
) -> tuple[Output, ...]:
    if len(choices) == wanted == 1 and type(choices[0]) is dict and choices[0].get("index", 0) == 0:
        return (read_choice(choices[0], 0, notes, retrieved),)  # what nearly every answer is
    by_index: dict[int, Output] = {}
    for position, choice in enumerate(choices):
        if not isinstance(choice, dict):
            notes.append(f"choice {position} is not an object")
            continue
        index = choice.get("index")
        if type(index) is not int or index < 0 or index in by_index or index >= max(wanted, len(choices)):
            index = position if position not in by_index else max(by_index) + 1
        by_index[index] = read_choice(choice, index, notes, retrieved)
    if len(by_index) > wanted:
        notes.append(f"{len(by_index)} choices for {wanted} asked for")
    count = max(wanted, max(by_index, default=-1) + 1)
    return tuple(by_index.get(index) or missing_choice(index) for index in range(count))


def read_choice(
    choice: dict[str, Any], index: int, notes: list[str], retrieved: list[Retrieved] | None = None
) -> Output:
    """Read one choice that has a message; what is odd about it goes into `notes`.

    `retrieved` are the documents that stand beside all choices; those of the choice or of its message come before them.
    """
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
    status = status_of(finish)
    logprobs = choice.get("logprobs")
    if logprobs is not None:
        logprobs = read_logprobs(logprobs, notes)
    if not PLACES.isdisjoint(choice):
        found = read_beside(choice, notes)
        retrieved = retrieved if found is None else found
    if message.keys() <= _PLAIN:
        return Output(index, status, text, finish_reason=finish, logprobs=logprobs, retrieved=retrieved)
    if message.get("annotations") or not PLACES.isdisjoint(message):
        own = read_in_message(message, notes)
        retrieved = retrieved if own is None else own
    refusal = _refusal(message.get("refusal"))
    return Output(
        choice=index,
        status="refused" if refusal and status == "ok" else status,
        text=text,
        reasoning=text_or_none(message.get("reasoning_content")) or text_or_none(message.get("reasoning")),
        refusal=refusal,
        tool_calls=_tool_calls(message),
        finish_reason=finish,
        audio_transcript=_transcript(message),
        logprobs=logprobs,
        retrieved=retrieved,
    )


def _content(content: Any) -> str | None:
    if isinstance(content, list):  # content parts, as some servers answer in the shape of a request
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return text_or_none(content)


def _refusal(value: Any) -> str | None:
    return value if isinstance(value, str) and value and value != "None" else None


def _tool_calls(message: dict[str, Any]) -> str | None:
    calls = message.get("tool_calls")
    if not calls and message.get("function_call"):  # the older name for a single call
        calls = [{"type": "function", "function": message["function_call"]}]
    return dumps(calls) if calls else None


def _transcript(message: dict[str, Any]) -> str | None:
    audio = message.get("audio")
    return text_or_none(audio.get("transcript")) if isinstance(audio, dict) else None
