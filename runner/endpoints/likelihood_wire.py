"""Owns the forms in which servers give the likelihood of a text, and how to tell which of them one server knows. Pure.

Two ways: `echo` with `logprobs` (OpenAI API reference, "Create completion", legacy; vLLM, SGLang, llama-cpp-python),
and `prompt_logprobs` (vLLM). Servers differ further: some generate nothing for `max_tokens: 0`, others refuse it; some
take several prompts in one request, others one; llama.cpp's own server knows neither way and ignores both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import orjson

from runner.endpoints.alignment import MisalignedError
from runner.endpoints.completions import place_choices
from runner.endpoints.loglikelihood import NoPromptLogprobsError, find_problem, measure
from runner.jsontext import loads

if TYPE_CHECKING:
    from collections.abc import Sequence

# A text like any other, so that its answer shows what the server does, and no sample is spent on finding out.
_CONTEXT = "The capital of France is"
_CONTINUATIONS = (" Paris", " a city")


@dataclass(frozen=True, slots=True)
class Form:
    """One form: `way` is echo or prompt_logprobs; `together` puts all continuations of a sample into one request."""

    way: str
    max_tokens: int
    together: bool

    def __str__(self) -> str:
        """Return the form as it stands in messages."""
        prompts = "several prompts in a request" if self.together else "one prompt in a request"
        return f"{self.way} with max_tokens {self.max_tokens}, {prompts}"


# From the cheapest: nothing generated, one request a sample.
FORMS = (
    Form("echo", 0, together=True),
    Form("echo", 1, together=True),
    Form("echo", 1, together=False),
    Form("echo", 0, together=False),
    Form("prompt_logprobs", 1, together=True),
    Form("prompt_logprobs", 1, together=False),
)


class Finding(Enum):
    """What an answer shows of the form that it was asked in."""

    WORKS = "works"
    REFUSED = "refused"
    IGNORED = "ignored"
    ONE_PROMPT = "one prompt"


def wire_bodies(body: bytes, form: Form) -> list[bytes]:
    """Return the HTTP bodies of one sample's request: one, or one for each continuation."""
    asked: dict[str, Any] = orjson.loads(body)
    context = asked.pop("context")
    prompts = [context + continuation for continuation in asked.pop("continuations")]
    if form.together and len(prompts) > 1:
        return [_wire_body(asked, prompts, form)]
    return [_wire_body(asked, prompt, form) for prompt in prompts]


def probe_body(body: bytes, form: Form) -> bytes:
    """Return the HTTP body that finds out about a form: a sample's parameters with a text that is always the same."""
    asked = {**orjson.loads(body), "context": _CONTEXT, "continuations": list(_CONTINUATIONS)}
    return wire_bodies(orjson.dumps(asked), form)[0]


def judge_probe(answer: bytes, form: Form) -> tuple[Finding, str]:
    """Say what a 2xx answer to `probe_body` shows, and why in words."""
    try:
        value, _ = loads(answer)
    except ValueError as error:
        return Finding.IGNORED, f"an answer that is no JSON ({error})"
    if find_problem(value) is not None:
        return Finding.IGNORED, "an answer without choices"
    continuations = _CONTINUATIONS if form.together else _CONTINUATIONS[:1]
    if len(value["choices"]) < len(continuations):
        return Finding.ONE_PROMPT, f"{len(value['choices'])} choice for {len(continuations)} prompts"
    choices = place_choices(value["choices"], 1, len(continuations), [])
    try:
        for number, continuation in enumerate(continuations):
            measure(_CONTEXT, continuation, choices.get(number, {}))
    except (NoPromptLogprobsError, MisalignedError) as error:
        return Finding.IGNORED, str(error)
    return Finding.WORKS, ""


def next_forms(left: Sequence[Form], finding: Finding) -> tuple[Form, ...]:
    """Return the forms that are worth trying after the first of `left` turned out as it did."""
    tried, *others = left
    if finding is Finding.IGNORED:
        return tuple(form for form in others if form.way != tried.way)
    if finding is Finding.ONE_PROMPT:
        return tuple(form for form in others if not form.together)
    return tuple(others)


def _wire_body(asked: dict[str, Any], prompt: str | list[str], form: Form) -> bytes:
    parameters = dict(asked)
    alternatives = parameters.pop("logprobs", None)
    # Of the chosen tokens alone it could not be said whether they are the likeliest.
    alternatives = alternatives if type(alternatives) is int and alternatives > 0 else 1
    own = {"echo": True, "logprobs": alternatives} if form.way == "echo" else {"prompt_logprobs": alternatives}
    wire = {**parameters, **own, "max_tokens": form.max_tokens, "prompt": prompt}
    return orjson.dumps(wire, option=orjson.OPT_SORT_KEYS)
