"""Owns lessons about parameters that a server refuses: which one follows from a refusal, and what it does to a body.

A parameter is translated (the two names of the longest answer), made good (`n`, by asking for one choice after the
other), or left out with a warning; for one without which the request would be another there is no lesson.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runner.endpoints import Endpoint
    from runner.retry import Refusal

DROP, RENAME, REPEAT = "drop", "rename", "repeat"

# They steer how an answer is drawn, counted or accounted for; the question stays the same without them.
_DROPPABLE = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "typical_p",
        "seed",
        "random_seed",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "length_penalty",
        "best_of",
        "use_beam_search",
        "min_tokens",
        "ignore_eos",
        "skip_special_tokens",
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prediction",
        "encoding_format",
        "stream_options",
        "parallel_tool_calls",
        "reasoning_effort",
        "reasoning",
        "verbosity",
        "truncation",
    }
)
# Without them the columns of log probabilities are null, as where a server leaves them out without a word.
_LOGPROBS = frozenset({"logprobs", "top_logprobs", "include"})
_ABOUT_LOGPROBS = frozenset({"logprobs", "loglikelihood"})
CHAT_ENDPOINTS = frozenset({"chat", "logprobs"})
_OTHER_NAME = {"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a server does not take, and what is done about it: left out, sent as `to`, or asked for by repetition."""

    param: str
    action: str
    said: str
    to: str | None = None

    def describe(self) -> str:
        """Say it in the words of the summary, the same in every session."""
        done = {
            DROP: "requests went without it",
            RENAME: f"it was sent as {self.to}",
            REPEAT: "each choice was asked for by a request of its own",
        }[self.action]
        nulls = ", and there are no log probabilities" if self.action == DROP and self.param in _LOGPROBS else ""
        seeds = ", with a seed of its own where there is one" if self.action == REPEAT else ""
        return f"the server does not support {self.param}: {done}{nulls}{seeds} ({self.said})"


def lesson_for(
    name: str, refusal: Refusal, endpoint: Endpoint, sent: Mapping[str, Any], known: Iterable[Lesson]
) -> Lesson | None:
    """Return what to do about a refused parameter; null where the request would no longer be the same."""
    other = _OTHER_NAME.get(name)
    if other is not None:
        tried = any(lesson.to == name for lesson in known)  # neither name is taken
        fits = endpoint.name in CHAT_ENDPOINTS or (endpoint.name == "completions" and other == "max_tokens")
        return Lesson(name, RENAME, refusal.said, other) if fits and not tried else None
    if name == "n":
        splits = endpoint.name in CHAT_ENDPOINTS or (endpoint.name == "completions" and prompts_in(sent) == 1)
        return Lesson(name, REPEAT, refusal.said) if splits else None
    if name in _LOGPROBS:
        needed = endpoint.name in _ABOUT_LOGPROBS and name == "logprobs"
        return None if needed else Lesson(name, DROP, refusal.said)
    return Lesson(name, DROP, refusal.said) if name in _DROPPABLE else None


def adapt(body: Mapping[str, Any], lessons: Iterable[Lesson]) -> dict[str, Any]:
    """Return a request's body with what was learnt. Doing it again changes nothing."""
    adapted = dict(body)
    for lesson in lessons:
        if lesson.param not in adapted:
            continue
        value = adapted.pop(lesson.param)
        if lesson.action == RENAME and lesson.to is not None:
            adapted.setdefault(lesson.to, value)
        elif lesson.param == "logprobs":
            adapted.pop("top_logprobs", None)  # it may not stand alone
    return adapted


def lessons_to_json(lessons: Iterable[Lesson], clean: Callable[[str], str]) -> dict[str, Any]:
    """Return lessons as a manifest keeps them; `clean` takes out of a server's words what must not stay."""
    return {lesson.param: {"action": lesson.action, "to": lesson.to, "said": clean(lesson.said)} for lesson in lessons}


def lessons_from_json(value: Any) -> Iterable[Lesson]:
    """Yield the lessons of a manifest; what is none is left out."""
    for param, found in value.items() if isinstance(value, dict) else ():
        if isinstance(found, dict) and found.get("action") in (DROP, RENAME, REPEAT):
            to = found.get("to")
            yield Lesson(param, found["action"], str(found.get("said", "")), to if isinstance(to, str) else None)


def prompts_in(body: Mapping[str, Any]) -> int:
    """Return how many prompts a body of text completions holds."""
    prompt = body.get("prompt")
    return len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
