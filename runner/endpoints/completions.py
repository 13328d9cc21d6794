"""Owns the completions endpoint: which body a sample becomes, and which outputs a text completion holds.

Shapes: OpenAI API reference, "Create completion" (legacy). A prompt is a text, a list of texts, a list of token ids or
a list of such lists; of p prompts with n choices each, `index` runs over prompts first: prompt = index // n. Servers
deviate: llama.cpp gives log probabilities in the chat shape, gateways that call this endpoint an imitation of chat
answer with a `message` in each choice, `text` may be null, `finish_reason` missing beside a `stop_reason`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from runner.endpoints.answers import missing_choice, parsed_from, positive, status_of, text_or_none
from runner.endpoints.chat import read_choice as read_chat_choice
from runner.endpoints.completion_stream import COMPLETION_STREAM
from runner.endpoints.logprobs import read_logprobs
from runner.endpoints.reasoning import note_reasoning
from runner.errors import NoChoicesError
from runner.jsontext import describe
from runner.records import Output

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.records import Parsed

PATH = "/completions"

_DEFAULT_COMPLETION_TOKENS = 16  # the documented default of max_tokens here; chat has none


def compose(prompt: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return the body, but for the model, of a prompt and parameters; all of it may hold templates."""
    return {"prompt": prompt, **params}


def asks_for_logprobs(body: dict[str, Any]) -> bool:
    """Say whether a body asks for log probabilities: 0 asks for those of the chosen tokens alone."""
    return body.get("logprobs") is not None and body["logprobs"] is not False


def longest_answer(body: dict[str, Any]) -> int | None:
    """Return the most tokens that one answer may have; null where the body does not say."""
    return positive(body.get("max_tokens")) or positive(body.get("max_completion_tokens"))


def choices_wanted(body: dict[str, Any]) -> int:
    """Return how many choices a request body asks for: `n` for each of its prompts."""
    return (positive(body.get("n")) or 1) * _prompts(body)


def reserve_tokens(body: dict[str, Any], size_bytes: int) -> int:
    """Estimate the tokens a request will be charged: four bytes a prompt token, and every candidate it allows."""
    candidates = max(choices_wanted(body), (positive(body.get("best_of")) or 1) * _prompts(body))
    return size_bytes // 4 + (longest_answer(body) or _DEFAULT_COMPLETION_TOKENS) * candidates


def find_problem(body: Any) -> RequestError | None:
    """Say what keeps a 2xx JSON body from being an answer; null when it is one."""
    if isinstance(body, dict) and isinstance(body.get("choices"), list) and body["choices"]:
        return None
    return NoChoicesError(
        "the server's 2xx answer has no choices",
        hint="does model.base_url have an OpenAI-compatible /completions? model.path names another path",
    )


def parse(body: bytes, cases: int, choices: int) -> Parsed:
    """Read a text completion: exactly `choices` outputs for each case, the choice with index i for case i // choices.

    Raises ValueError when the body is no JSON object with choices.
    """
    value, note = COMPLETION_STREAM.read(body)
    if find_problem(value) is not None:
        raise ValueError("the answer has no choices")
    notes = [note] if note else []
    placed = place_choices(value["choices"], cases, choices, notes)
    outputs = tuple(
        tuple(_output(placed.get(case * choices + index), index, notes) for index in range(choices))
        for case in range(cases)
    )
    return note_reasoning(parsed_from(value, outputs, notes))


def _prompts(body: dict[str, Any]) -> int:
    prompt = body.get("prompt")
    # A list of numbers is one prompt, as token ids.
    return len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1


def place_choices(choices: list[Any], cases: int, wanted: int, notes: list[str]) -> dict[int, dict[str, Any]]:
    """Return the choices by their places.

    Within one case a choice without a usable index takes the next free place. Of several cases it could be anyone's
    answer: it is left out, unless no choice has a usable index and there are just as many as were asked for.
    """
    total = cases * wanted
    sound = [choice for choice in choices if isinstance(choice, dict)]
    if len(sound) < len(choices):
        notes.append(f"{len(choices) - len(sound)} choices are not objects")
    seen = Counter(choice["index"] for choice in sound if type(choice.get("index")) is int)
    placed: dict[int, dict[str, Any]] = {}
    rest = []
    for choice in sound:
        index = choice.get("index")
        if type(index) is int and 0 <= index < total and seen[index] == 1:
            placed[index] = choice
        else:
            rest.append(choice)
    if not rest:
        return placed
    if cases == 1 or (not placed and len(choices) == len(sound) == total):
        free = [place for place in range(total) if place not in placed]
        placed.update(zip(free, rest, strict=False))
        if cases > 1:
            notes.append("no choice has an index of its own: they were taken in order")
        rest = rest[len(free) :]
    if rest:
        notes.append(f"{len(choices)} choices for {total} asked for: {len(rest)} have no place")
    return placed


def _output(choice: dict[str, Any] | None, index: int, notes: list[str]) -> Output:
    if choice is None:
        return missing_choice(index)
    if "text" not in choice and isinstance(choice.get("message"), dict):
        return read_chat_choice(choice, index, notes)
    finish = text_or_none(choice.get("finish_reason")) or text_or_none(choice.get("stop_reason"))
    text = text_or_none(choice.get("text"))
    error = choice.get("error")
    if error:  # some routers put an upstream failure into the choice
        return Output(
            choice=index,
            status="failed",
            text=text,
            finish_reason=finish,
            error_kind="server",
            error_message=describe(error, 500),
        )
    if text is None and "text" not in choice:
        notes.append(f"choice {index} has no text")
    return Output(
        choice=index,
        status=status_of(finish),
        text=text,
        reasoning=text_or_none(choice.get("reasoning_content")) or text_or_none(choice.get("reasoning")),
        finish_reason=finish,
        logprobs=read_logprobs(choice.get("logprobs"), notes),
    )
