"""Owns the course of a probe: what is asked first and decides, what is asked beside it, and what is left out."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import anyio

from runner.errors import ModelNotFoundError, RequestError
from runner.pipeline.probe.asking import MOST_REQUESTS, Asker
from runner.pipeline.probe.chat import (
    ask_chat,
    ask_choices,
    ask_knobs,
    ask_logprobs,
    ask_response_format,
    ask_seed,
    ask_stream,
    ask_tools,
)
from runner.pipeline.probe.finding import FAILED, LIMITED, PASSED, SKIPPED, UNCLEAR, Probe, is_passing
from runner.pipeline.probe.others import ask_completions, ask_embeddings, ask_models, ask_responses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runner.pipeline.probe.asking import Said, Target
    from runner.transport import Transport

# All requests together: whoever waits for the table wants it soon.
_ALL_S = 45.0
_KEY_STATUSES = frozenset({401, 403, 407})
# In the order of the table.
_CHECKS = (
    "reach",
    "auth",
    "model",
    "chat",
    "completions",
    "responses",
    "embeddings",
    "max tokens",
    "usage",
    "temperature",
    "top_p",
    "stop",
    "n",
    "seed",
    "logprobs",
    "echo",
    "streaming",
    "response_format",
    "tools",
    "rate headers",
    "latency",
)
_OF_CHAT: tuple[tuple[str, Callable[[Asker, Probe], Awaitable[Any]]], ...] = (
    ("seed", ask_seed),
    ("stop", ask_knobs),
    ("logprobs", ask_logprobs),
    ("n", ask_choices),
    ("streaming", ask_stream),
    ("response_format", ask_response_format),
    ("tools", ask_tools),
)
_LEFT_OUT = {
    "responses": "asked only where request.endpoint is responses",
    "json_schema": "of response_format only json_object is asked for",
    "images, audio": "they cost more than a few tokens",
    "limits": "only their headers are read; to meet them would cost requests",
}
# What a run's own endpoint asks first; all others begin with a chat.
_FIRST: dict[str, tuple[str, Callable[[Asker, Probe], Awaitable[Said]]]] = {
    "completions": ("completions", ask_completions),
    "loglikelihood": ("completions", ask_completions),
    "embeddings": ("embeddings", ask_embeddings),
    "responses": ("responses", ask_responses),
}


async def probe(transport: Transport, target: Target) -> Probe:
    """Ask, and stop at the first failure that makes the rest pointless; `exit_code` is then that failure's.

    What the run's own endpoint answers decides; all else may be missing. Sends 15 requests at most.
    """
    asker, found = Asker(transport, target), Probe()
    met = False
    with anyio.move_on_after(_ALL_S):
        met = await ask_models(asker, found) and await _meet(asker, found)
        if met:
            await _look_around(asker, found)
    _conclude(asker, found, met=met)
    return found


async def _meet(asker: Asker, found: Probe) -> bool:
    """Ask what the run would ask; say whether to go on."""
    name, ask = _FIRST.get(asker.target.endpoint, ("chat", ask_chat))
    said = await ask(asker, found)
    if said.answer is not None:
        found.note("auth", PASSED, "a request was answered")
        return True
    error = said.error or RequestError("no answer")
    name = "auth" if error.http_status in _KEY_STATUSES else name
    name = "model" if isinstance(error, ModelNotFoundError) else name
    found.replace(name, FAILED, error.message, error.hint)
    found.exit_code = 6 if is_passing(error) else 5
    return False


async def _look_around(asker: Asker, found: Probe) -> None:
    """Ask all that is left, a few at a time."""
    if not found.has("chat"):
        await ask_chat(asker, found)
    questions = list(_OF_CHAT) if found.facts.get("chat") else []
    questions += [
        (name, ask)
        for name, ask in (("completions", ask_completions), ("embeddings", ask_embeddings))
        if not found.has(name)
    ]
    async with anyio.create_task_group() as group:
        for name, ask in questions:
            group.start_soon(_guarded, name, ask, asker, found)


async def _guarded(name: str, ask: Callable[[Asker, Probe], Awaitable[Any]], asker: Asker, found: Probe) -> None:
    try:
        await ask(asker, found)
    except Exception as bug:  # noqa: BLE001 - an odd answer to one question must not cost the others
        found.note(name, UNCLEAR, f"the answer cannot be read ({type(bug).__name__})")


def _conclude(asker: Asker, found: Probe, *, met: bool) -> None:
    """Put the answers in order, and say what was not tested and why."""
    found.requests = asker.requests
    if met:
        found.facts["rate_headers"] = bool(asker.limits)
        none = "none; set limits.requests_per_minute if there is a limit"
        found.note("rate headers", PASSED if asker.limits else LIMITED, ", ".join(asker.limits) or none)
    if asker.latencies:
        middle = statistics.median(asker.latencies)
        found.facts["latency_s"] = round(middle, 3)
        found.note("latency", PASSED, f"median {middle:.3f} s of {len(asker.latencies)} answers")
    why = _why_not(asker, found, met=met)
    for name in _CHECKS:
        found.note(name, SKIPPED, _LEFT_OUT.get(name, why))
    for name, reason in _LEFT_OUT.items():
        found.note(name, SKIPPED, reason)
    order = {name: number for number, name in enumerate(_CHECKS)}
    found.checks.sort(key=lambda check: order.get(check.name, len(order)))


def _why_not(asker: Asker, found: Probe, *, met: bool) -> str:
    if not met:
        return "the first request was not answered"
    if asker.requests >= MOST_REQUESTS:
        return f"the {MOST_REQUESTS} requests were used up"
    return "there is no chat" if not found.facts.get("chat") else f"there was no time left of {_ALL_S:g} s"
