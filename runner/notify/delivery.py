"""Owns getting a message to every place that wants it: all at once, within a bound, and never at a night's expense."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import orjson

from runner.notify.payload import payload
from runner.notify.services import send_with_apprise
from runner.notify.targets import problem_of
from runner.notify.text import render
from runner.notify.webhook import Course, post_webhook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.notify.message import Message
    from runner.notify.targets import Target

MOST_S = 60.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message at one place. `error` is empty where it was taken, and never holds an address."""

    label: str
    ok: bool
    attempts: int
    error: str = ""


def deliver(
    targets: Sequence[Target],
    message: Message,
    *,
    environ: Mapping[str, str] | None = None,
    within_s: float = MOST_S,
) -> list[Delivery]:
    """Tell every place that wants this event; return what became of it, in the order of `targets`.

    Blocks for `within_s` at most and raises nothing: a night is what it is, whoever can be told. Places are told at
    the same time. Addresses come out of `environ`, the process's environment by default.
    """
    wanted = [target for target in targets if target.wants(message.event)]
    if not wanted:
        return []
    known = os.environ if environ is None else environ
    try:
        return anyio.run(_deliver_all, wanted, message, known, within_s, backend="asyncio")
    except Exception as error:  # noqa: BLE001 - a bug here must not cost a night's verdict
        return [Delivery(target.label, ok=False, attempts=0, error=_internal(error)) for target in wanted]


async def _deliver_all(
    targets: Sequence[Target], message: Message, environ: Mapping[str, str], within_s: float
) -> list[Delivery]:
    found: dict[int, Delivery] = {}

    async def one(number: int, target: Target) -> None:
        found[number] = await _deliver(target, message, environ, within_s)

    async with anyio.create_task_group() as group:
        for number, target in enumerate(targets):
            group.start_soon(one, number, target)
    return [found[number] for number in sorted(found)]


async def _deliver(target: Target, message: Message, environ: Mapping[str, str], within_s: float) -> Delivery:
    problem = problem_of(target, environ)
    if problem:
        return Delivery(target.label, ok=False, attempts=0, error=problem)
    try:
        if target.kind == "webhook":
            return await _to_webhook(target, message, environ, within_s)
        return await _to_services(target, message, environ, within_s)
    except Exception as error:  # noqa: BLE001 - as in `deliver`, and the other places are still told
        return Delivery(target.label, ok=False, attempts=0, error=_internal(error))


async def _to_webhook(target: Target, message: Message, environ: Mapping[str, str], within_s: float) -> Delivery:
    sent_at = datetime.now(UTC).isoformat(timespec="seconds")
    body = orjson.dumps(payload(message, delivery_id=secrets.token_hex(16), sent_at=sent_at))
    course = Course()
    taken = False
    with anyio.move_on_after(within_s) as scope:
        taken = await post_webhook(target.address(environ), body, course)
    late = f"given up after {within_s:g} s" if scope.cancelled_caught else ""
    error = "" if taken else "; ".join(part for part in (late, course.error) if part)
    return Delivery(target.label, taken, course.attempts, error)


async def _to_services(target: Target, message: Message, environ: Mapping[str, str], within_s: float) -> Delivery:
    title, body = render(message)
    outcome = await send_with_apprise(target.address(environ), title, body, within_s=within_s)
    problems = [*outcome.problems] + ([] if outcome.finished else [f"given up after {within_s:g} s"])
    return Delivery(target.label, not problems, 1, "; ".join(problems))


def _internal(error: Exception) -> str:
    """Name a bug by its kind: its text may hold anything."""
    return f"internal error: {type(error).__name__}"
