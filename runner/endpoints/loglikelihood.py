"""Owns the log-likelihood endpoint: what a sample asks for, and the likelihood of each continuation in the answers.

A sample is a context and its continuations. That is the request which its key is made of; which HTTP requests carry it
depends on what the server can do (`likelihood_wire`). The answer is a completion whose choices hold log probabilities
of the prompt itself: of `echo` (OpenAI API reference, "Create completion", legacy) or of `prompt_logprobs` (vLLM).
Where each continuation went alone, the answers lie side by side in one object, `{"answers": […], "failures": […]}`.
"""

from __future__ import annotations

import math
import re
from itertools import starmap
from typing import TYPE_CHECKING, Any

import orjson

from runner.endpoints.alignment import MisalignedError, Tokens, find_continuation
from runner.endpoints.answers import missing_choice, parsed_from
from runner.endpoints.completions import place_choices
from runner.endpoints.logprobs import read_logprobs, read_prompt_logprobs
from runner.errors import (
    NoChoicesError,
    ParseError,
    TemplateError,
    UnsupportedError,
    kind_of,
)
from runner.jsontext import loads
from runner.records import Logprobs, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.errors import RequestError
    from runner.records import Parsed, Request

PATH = "/completions"
CONTENTS = ("context", "continuations")

_DELIVERED = re.compile(rb'"logprob"\s*:|"(?:token|prompt)_logprobs"\s*:\s*\[')


class NoPromptLogprobsError(ValueError):
    """A choice without log probabilities of its prompt."""


# ---------------------------------------------------------------- requests


def compose(content: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Return the request as it is before a server's form is known: context, continuations and parameters."""
    return {"logprobs": 1, "temperature": 0, **params, **content}


def finish(body: dict[str, Any]) -> dict[str, Any]:
    """Return a rendered body. Raises TemplateError for a row whose context or continuations are no texts."""
    context, continuations = body["context"], body["continuations"]
    if not isinstance(context, str):
        raise TemplateError(f"request.context: expected a text, found {_kind(context)}")
    if not isinstance(continuations, list) or not continuations:
        found = "an empty list" if continuations == [] else _kind(continuations)
        raise TemplateError(
            f"request.continuations: expected a list of texts, found {found}",
            hint="a list of templates, or exactly {{ column }} for a column of lists",
        )
    for number, continuation in enumerate(continuations):
        if not isinstance(continuation, str) or not continuation:
            found = "an empty text" if continuation == "" else _kind(continuation)
            raise TemplateError(f"request.continuations.{number}: expected a text, found {found}")
    return body


def choices_wanted(body: dict[str, Any]) -> int:
    """Return how many continuations a sample has."""
    return len(body["continuations"])


def reserve_tokens(body: dict[str, Any], size_bytes: int) -> int:  # noqa: ARG001 - the signature of all endpoints
    """Estimate the tokens that will be charged: the context goes out with each continuation, four bytes a token."""
    context, continuations = len(body["context"].encode("utf-8", "replace")), body["continuations"]
    return sum((context + len(one.encode("utf-8", "replace"))) // 4 + 1 for one in continuations)


def longest_answer(body: dict[str, Any]) -> int | None:  # noqa: ARG001 - the signature of all endpoints
    """Return the most tokens that are generated for a continuation."""
    return 1


def find_omission(request: Request, answer: bytes) -> UnsupportedError | None:
    """Return the error that an accepted answer without any log probability is; nothing is parsed."""
    if _DELIVERED.search(answer):
        return None
    return UnsupportedError(
        f"the server's answer at {request.path} has no log probabilities of the prompt, as its earlier ones had",
        hint="do all servers behind model.base_url have echo or prompt_logprobs? Resuming sends the row again",
    )


# ---------------------------------------------------------------- answers


def parse(body: bytes, cases: int, choices: int) -> Parsed:  # noqa: ARG001 - the signature of all endpoints
    """Refuse: without its request an answer does not say where a continuation begins."""
    raise ValueError("a log-likelihood is read together with its request")


def parse_exchange(request: bytes, body: bytes, cases: int, choices: int) -> Parsed:
    """Read the likelihoods of one sample's continuations.

    A continuation whose likelihood cannot be told is a failed output. Raises ValueError when there is no answer at all.
    """
    asked, (value, note) = orjson.loads(request), loads(body)
    notes = [note] if note else []
    if isinstance(value, dict) and "choices" not in value and isinstance(value.get("answers"), list):
        found, value = _side_by_side(value, notes)
    elif find_problem(value) is None:
        found = dict(place_choices(value["choices"], 1, choices, notes))
    else:
        raise ValueError("the answer has no choices")
    context, continuations = asked["context"], asked["continuations"]
    outputs = tuple(_output(context, continuations[index], found.get(index), index) for index in range(choices))
    return parsed_from(value, (outputs,) * cases, notes)


def find_problem(body: Any) -> RequestError | None:
    """Say what keeps a 2xx JSON body from being an answer; null when it is one."""
    if isinstance(body, dict) and isinstance(body.get("choices"), list) and body["choices"]:
        return None
    return NoChoicesError(
        "the server's 2xx answer has no choices",
        hint="does model.base_url have an OpenAI-compatible /completions? model.path names another path",
    )


def measure(context: str, continuation: str, choice: dict[str, Any], index: int = 0) -> Output:
    """Return the likelihood of a continuation out of a choice whose prompt was context and continuation together.

    Raises NoPromptLogprobsError, and MisalignedError where a likelihood would be a guess.
    """
    logprobs, ranks, tokens = _read_tokens(context, continuation, choice)
    portion = find_continuation(context, continuation, tokens)
    own = slice(portion.first, portion.end)
    kept = Logprobs(
        tokens=logprobs.tokens[own],
        token_bytes=logprobs.token_bytes[own],
        token_logprobs=logprobs.token_logprobs[own],
        top_tokens=logprobs.top_tokens[own],
        top_logprobs=logprobs.top_logprobs[own],
    )
    values = [one for one in kept.token_logprobs if one is not None]
    if len(values) < len(kept.token_logprobs):
        raise MisalignedError(_without_value(portion.first, context))
    return Output(
        choice=index,
        status="ok",
        logprobs=kept,
        continuation=continuation,
        loglikelihood=math.fsum(values),
        is_greedy=_all_greedy(kept, ranks[own]),
        boundary_inexact=portion.inexact,
    )


def join_answers(bodies: Sequence[bytes | None], failures: Sequence[tuple[str, str] | None]) -> bytes:
    """Return one body out of the answers to the continuations of a sample, each as it came; null where there is none.

    An answer that is no strict JSON stands as a text, so that the others can be read whatever it is.
    """
    return b'{"answers":[%b],"failures":%b}' % (b",".join(map(_verbatim, bodies)), orjson.dumps(failures))


def _verbatim(body: bytes | None) -> bytes:
    if body is None:
        return b"null"
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return orjson.dumps(body.decode("utf-8", "replace"))
    return body


def _side_by_side(value: dict[str, Any], notes: list[str]) -> tuple[dict[int, Any], dict[str, Any]]:
    """Return the first choice (or the failure) of each answer by its number, and their head with their usage summed."""
    answers = [loads(one.encode())[0] if isinstance(one, str) else one for one in value["answers"]]
    failures = value.get("failures")
    found: dict[int, Any] = {
        number: failure for number, failure in enumerate(failures if isinstance(failures, list) else ()) if failure
    }
    sound = {number: one for number, one in enumerate(answers) if find_problem(one) is None}
    for number, one in sound.items():
        found[number] = place_choices(one["choices"], 1, 1, notes).get(0)
    head: dict[str, Any] = next(iter(sound.values()), {})
    return found, {**head, "usage": _summed([one.get("usage") for one in sound.values()])}


def _summed(usages: list[Any]) -> dict[str, Any] | None:
    if not usages or not all(isinstance(usage, dict) for usage in usages):
        return None
    names = dict.fromkeys(name for usage in usages for name, count in usage.items() if type(count) is int)
    counts = {name: [usage.get(name) for usage in usages] for name in names}
    return {name: sum(values) for name, values in counts.items() if all(type(one) is int for one in values)}


def _output(context: str, continuation: str, choice: Any, index: int) -> Output:
    if isinstance(choice, list):
        return _failed(continuation, index, str(choice[0]), str(choice[-1]))
    if not isinstance(choice, dict):
        missing = missing_choice(index)
        return _failed(continuation, index, str(missing.error_kind), str(missing.error_message))
    try:
        return measure(context, continuation, choice, index)
    except NoPromptLogprobsError as error:
        return _failed(continuation, index, kind_of(UnsupportedError), str(error))
    except MisalignedError as error:
        return _failed(continuation, index, kind_of(ParseError), str(error))


def _failed(continuation: str, index: int, kind: str, message: str) -> Output:
    return Output(index, "failed", error_kind=kind, error_message=message, continuation=continuation)


def _read_tokens(context: str, continuation: str, choice: dict[str, Any]) -> tuple[Logprobs, list[int | None], Tokens]:
    given = choice.get("logprobs")
    offsets = given.get("text_offset") if isinstance(given, dict) else None
    hidden = bool(choice.get("prompt_logprobs")) and isinstance(choice["prompt_logprobs"], list)
    if hidden:
        logprobs, ranks = read_prompt_logprobs(choice["prompt_logprobs"], choice.get("prompt_token_ids"))
        offsets = None
    else:
        echoed = read_logprobs(given, [])
        if echoed is None or not echoed.tokens:
            raise NoPromptLogprobsError("the server gave no log probabilities of the prompt")
        logprobs, ranks = echoed, [None] * len(echoed.tokens)
    tokens = Tokens(
        texts=logprobs.tokens,
        data=logprobs.token_bytes,
        offsets=offsets if isinstance(offsets, list) and all(type(one) is int for one in offsets) else (),
        unplaced=_unplaced(logprobs, context + continuation, within=bool(context)),
        hidden=hidden,
    )
    return logprobs, ranks, tokens


def _unplaced(logprobs: Logprobs, text: str, *, within: bool) -> tuple[int, ...]:
    """Return how many tokens at the start may be no part of the text: only those that nothing comes before."""
    texts, values = logprobs.tokens, logprobs.token_logprobs
    if values[0] is not None:
        return (0,)
    if not texts[0]:
        # A mark without text; but at the beginning of what is measured it could be a piece of a first character.
        return (1,) if within or text[0].isascii() else (0,)
    return (0, 1, 2) if len(texts) > 1 and texts[1] == texts[0] else (0, 1)


def _all_greedy(logprobs: Logprobs, ranks: Sequence[int | None]) -> bool | None:
    """Say whether every token is the likeliest at its place; null where alternatives are missing.

    By value rather than by text: different tokens may show the same text.
    """
    likeliest = list(starmap(_is_likeliest, zip(logprobs.token_logprobs, logprobs.top_logprobs, ranks, strict=True)))
    if False in likeliest:
        return False
    return None if None in likeliest else True


def _is_likeliest(own: float | None, tops: Sequence[float | None], rank: int | None) -> bool | None:
    if rank is not None:
        return rank == 1
    known = [top for top in tops if top is not None]
    return own >= max(known) if known and own is not None else None


def _without_value(first: int, context: str) -> str:
    if not context and first == 0:
        return (
            "the continuation's first token has no log probability: nothing comes before it, since the context is "
            "empty and the server puts no token of its own before a text"
        )
    return "a token of the continuation has no log probability that is a number"


def _kind(value: Any) -> str:
    names = {str: "a text", list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"the number {value}")
