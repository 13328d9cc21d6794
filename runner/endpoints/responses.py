"""Owns the responses endpoint: messages as its input, and the output that a response holds.

Shapes: OpenAI API reference, "Create a model response" and "The response object". An answer is a list of items:
messages (whose parts are texts or refusals), reasoning, calls of functions and of tools. `error_in_body` has judged a
failed response, with its `error`, before anything here is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.answers import missing_choice, parsed_from, positive, status_of, text_or_none
from runner.endpoints.logprobs import read_chat_logprobs
from runner.endpoints.reasoning import note_reasoning
from runner.endpoints.response_stream import RESPONSE_STREAM
from runner.endpoints.retrieved import read_annotations, read_file_search
from runner.errors import NoChoicesError, ServerError
from runner.jsontext import dumps
from runner.records import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.errors import RequestError
    from runner.records import Logprobs, Parsed, Retrieved

PATH = "/responses"

_DEFAULT_COMPLETION_TOKENS = 512
_ASKS_FOR_LOGPROBS = "message.output_text.logprobs"
_NOT_YET = ("queued", "in_progress")
_FAILED = ("failed", "cancelled")


# ---------------------------------------------------------------- requests


def compose(messages: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return the body, but for the model, of messages and parameters; all of it may hold templates."""
    return {"input": messages, **params}


def finish(body: dict[str, Any]) -> dict[str, Any]:
    """Put rendered messages into the words of this endpoint: parts of content, calls of tools and their results.

    A system message stays a message. Whatever is in its words already, or in none that is known, is sent as it is.
    """
    messages = body.get("input")
    if not isinstance(messages, list):
        return body
    return {**body, "input": [item for message in messages for item in _items_of(message)]}


def asks_for_logprobs(body: dict[str, Any]) -> bool:
    """Say whether a body asks for log probabilities; one whose `include` is a template may."""
    include = body.get("include")
    return isinstance(include, str) or (isinstance(include, list) and _ASKS_FOR_LOGPROBS in include)


def choices_wanted(_body: dict[str, Any]) -> int:
    """Return 1: a response is one answer."""
    return 1


def longest_answer(body: dict[str, Any]) -> int | None:
    """Return the most tokens that the answer may have, reasoning included; null where the body does not say."""
    return positive(body.get("max_output_tokens"))


def reserve_tokens(body: dict[str, Any], size_bytes: int) -> int:
    """Estimate the tokens a request will be charged: four bytes a prompt token, and the longest answer it allows."""
    return size_bytes // 4 + (longest_answer(body) or _DEFAULT_COMPLETION_TOKENS)


def _items_of(message: Any) -> Iterator[Any]:
    if not isinstance(message, dict) or "role" not in message:
        yield message
        return
    content, role = message.get("content"), message["role"]
    if role == "tool":
        output = content if isinstance(content, str) else _parts_of(content, role)
        yield {"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output}
        return
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        yield {**message, "content": _parts_of(content, role)} if isinstance(content, list) else message
        return
    if content:
        yield {"role": role, "content": _parts_of(content, role)}
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield {"type": "function_call", "call_id": call.get("id"), **function}
        else:
            yield call


def _parts_of(content: Any, role: Any) -> Any:
    return [_part_of(part, role) for part in content] if isinstance(content, list) else content


def _part_of(part: Any, role: Any) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {**part, "type": "output_text" if role == "assistant" else "input_text"}
    if kind == "image_url":
        image = part.get("image_url")
        image = dict(image) if isinstance(image, dict) else {"url": image}
        return {**part, "type": "input_image", "image_url": image.pop("url", None), **image}
    if kind == "file" and isinstance(part.get("file"), dict):
        beside = {name: value for name, value in part.items() if name != "file"}
        return {**beside, "type": "input_file", **part["file"]}
    return part


# ---------------------------------------------------------------- answers


def find_problem(body: Any) -> RequestError | None:
    """Say what keeps a 2xx JSON body from being an answer; null when it is one."""
    status = body.get("status") if isinstance(body, dict) else None
    if status in _NOT_YET:
        return NoChoicesError(
            f"the server's 2xx answer is {status}: the response is still to come",
            hint="leave out request.params.background: a run takes answers from the request's own reply",
        )
    if status in _FAILED:
        return ServerError(f"the server's 2xx answer is a response with status {status}, without an error in it")
    # Reasoning may use up all the tokens: then nothing is in the output, and it was paid for.
    if isinstance(body, dict) and isinstance(body.get("output"), list) and (body["output"] or status == "incomplete"):
        return None
    return NoChoicesError(
        "the server's 2xx answer has no output",
        hint="does model.base_url have an OpenAI-compatible /responses? model.path names another path",
    )


def parse(body: bytes, cases: int, choices: int) -> Parsed:
    """Read a response, streamed or not; `cases` and `choices` are 1. Raises ValueError for what is none with output.

    `finish_reason` is the server's own word: why the response is incomplete, else its status.
    """
    value, note = RESPONSE_STREAM.read(body)
    if find_problem(value) is not None:
        raise ValueError("the answer has no output")
    notes = [note] if note else []
    items = [item for item in value["output"] if isinstance(item, dict)]
    if len(items) < len(value["output"]):
        notes.append(f"{len(value['output']) - len(items)} output items are not objects")
    outputs = (_output(value, items, notes), *(missing_choice(index) for index in range(1, choices)))
    return note_reasoning(parsed_from(value, (outputs,) * cases, notes))


def _output(value: dict[str, Any], items: list[dict[str, Any]], notes: list[str]) -> Output:
    parts = [part for item in items if item.get("type", "message") == "message" for part in _dicts(item.get("content"))]
    texts = [part for part in parts if part.get("type", "output_text") in ("output_text", "text")]
    refusals = [part["refusal"] for part in parts if _is_refusal(part.get("refusal"))]
    thoughts = [thought for item in items if item.get("type") == "reasoning" for thought in _thoughts(item)]
    finish_reason = _finish_reason(value)
    status = _status(value, finish_reason)
    return Output(
        choice=0,
        status="refused" if refusals and status == "ok" else status,
        text=_joined([part.get("text") for part in texts], ""),
        reasoning=_joined(thoughts, "\n\n"),
        refusal=_joined(refusals, ""),
        tool_calls=_tool_calls(items),
        finish_reason=finish_reason,
        logprobs=_logprobs(texts, notes),
        retrieved=_retrieved(items, texts, notes),
    )


def _status(value: dict[str, Any], finish_reason: str | None) -> str:
    status = status_of(finish_reason)
    # Whatever made it incomplete, the text ends before its end.
    return "truncated" if status == "ok" and value.get("status") == "incomplete" else status


def _finish_reason(value: dict[str, Any]) -> str | None:
    details = value.get("incomplete_details")
    reason = text_or_none(details.get("reason")) if isinstance(details, dict) else None
    return reason or text_or_none(value.get("status"))


def _thoughts(item: dict[str, Any]) -> Iterator[Any]:
    """Yield the reasoning itself where the server shows it, as open models' servers do, else its summary."""
    shown = [part.get("text") for part in _dicts(item.get("content"))]
    yield from shown or [part.get("text") for part in _dicts(item.get("summary"))]


def _tool_calls(items: list[dict[str, Any]]) -> str | None:
    """Return the calls in the shape that chat has."""
    calls: list[dict[str, Any]] = []
    for item in items:
        call_id = item.get("call_id", item.get("id"))
        if item.get("type") == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            calls.append({"id": call_id, "type": "function", "function": function})
        if item.get("type") == "custom_tool_call":
            custom = {"name": item.get("name"), "input": item.get("input")}
            calls.append({"id": call_id, "type": "custom", "custom": custom})
    return dumps(calls) if calls else None


def _logprobs(texts: list[dict[str, Any]], notes: list[str]) -> Logprobs | None:
    """Return those of all texts as one list; OpenAI's servers write an empty list where none were asked for."""
    lists = [part["logprobs"] for part in texts if isinstance(part.get("logprobs"), list)]
    entries = [entry for entries in lists for entry in entries]
    return read_chat_logprobs({"content": entries}, notes) if entries else None


def _retrieved(items: list[dict[str, Any]], texts: list[dict[str, Any]], notes: list[str]) -> list[Retrieved] | None:
    """Return what file searches found, else what the texts cite: results come only where they were asked for."""
    found = read_file_search(items, notes)
    if found is not None:
        return found
    annotations = [one["annotations"] for one in texts if isinstance(one.get("annotations"), list)]
    return read_annotations([one for several in annotations for one in several], notes)


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _joined(texts: list[Any], between: str) -> str | None:
    sound = [text for text in texts if isinstance(text, str)]
    return between.join(sound) if sound else None


def _is_refusal(value: Any) -> bool:
    return isinstance(value, str) and value not in ("", "None")
