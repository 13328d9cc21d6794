"""Owns how a server tells of its limits: headers on every reply, and what a refusal says, each in a real one's way.

`remaining` is what a limit holds now, `reset` the time until it is whole again (not the wait that is needed).
Sources: OpenAI's guide to rate limits (Go durations); of Azure openai-dotnet#838 (whole seconds, -1 for unknown),
oaib#11 (answers name no limits) and TinyLLM#17 (the refusal); Anthropic's page on rate limits (RFC 3339 times,
rate_limit_error); draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from runner.errors import UsageError
from runner.simulate.replies import ErrorBody, error_reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.simulate.limits import Refusal, Standing
    from runner.simulate.replies import Reply

_SECOND_MS = 1000
_MINUTE_MS = 60_000
_ROUNDING = 1e-6
_WINDOW_S = 60

Headers: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell: limits, the refusal if it is one, the model, and the time (seconds since the epoch)."""

    standings: tuple[Standing, ...]
    refusal: Refusal | None
    model: str
    today: float


@dataclass(frozen=True, slots=True)
class Notice:
    """One way to tell: the headers of any reply and the body of a refusal.

    `overload` is the failure that a crowded server answers with; without `asks_to_wait` failures name no wait either.
    """

    headers: Callable[[Told], Headers]
    refuse: Callable[[Told, Refusal], Reply]
    overload: str = "503"
    asks_to_wait: bool = True


def go_duration(seconds: float) -> str:
    """Return a duration as Go prints it, to the millisecond: `0s`, `12ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = math.ceil(seconds * _SECOND_MS - _ROUNDING)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < _SECOND_MS:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, _MINUTE_MS)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else (f"{minutes}m" if minutes else "")
    return f"{head}{rest / _SECOND_MS:g}s"


def check_notice(name: str) -> None:
    """Raise UsageError for a way to tell that does not exist."""
    if name not in NOTICES:
        raise UsageError(f"There are no rate headers {name!r}.", hint=f"one of {', '.join(sorted(NOTICES))}")


# ---------------------------------------------------------------- OpenAI


def _openai(told: Told) -> Headers:
    headers = {}
    for one in told.standings:
        name = one.name.replace("_", "-")
        headers[f"x-ratelimit-limit-{name}"] = f"{one.per_minute:.0f}"
        headers[f"x-ratelimit-remaining-{name}"] = str(one.remaining)
        headers[f"x-ratelimit-reset-{name}"] = go_duration(one.reset_s)
    return headers | _both_waits(told)


def _refuse_openai(told: Told, refusal: Refusal) -> Reply:
    short = {"requests": "RPM", "tokens": "TPM", "input_tokens": "ITPM", "output_tokens": "OTPM"}[refusal.name]
    label = f"{refusal.name.replace('_', ' ')} per min ({short})"
    where = f"for {told.model} in organization org-simulated on {label}: Limit {refusal.per_minute:.0f}"
    if refusal.retry_after_s is None:
        said = (
            f"Request too large {where}, Requested {refusal.cost:.0f}. "
            "The input or output tokens must be reduced in order to run successfully."
        )
    else:
        said = (
            f"Rate limit reached {where}, Used {refusal.used:.0f}, Requested {refusal.cost:.0f}. "
            f"Please try again in {go_duration(refusal.retry_after_s)}."
        )
    return error_reply(429, ErrorBody(said, type=refusal.name, code="rate_limit_exceeded"))


# ---------------------------------------------------------------- Azure


def _azure(told: Told) -> Headers:
    """Say on answers what remains, on refusals the limit that refuses; the others are -1 and 0 then."""
    headers = {}
    for one in told.standings:
        name = one.name.replace("_", "-")
        silent = told.refusal is not None and told.refusal.name != one.name
        headers[f"x-ratelimit-remaining-{name}"] = "-1" if silent else str(one.remaining)
        if told.refusal is not None:
            headers[f"x-ratelimit-limit-{name}"] = "-1" if silent else f"{one.per_minute:.0f}"
            headers[f"x-ratelimit-reset-{name}"] = "0" if silent else str(math.ceil(one.reset_s))
    return headers | _both_waits(told)


def _refuse_azure(_told: Told, refusal: Refusal) -> Reply:
    rate = "call rate limit" if refusal.name == "requests" else "token rate limit"
    wait_s = math.ceil(refusal.retry_after_s or 0) or 86_400
    said = (
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded "
        f"{rate} of your current OpenAI S0 pricing tier. Please retry after {wait_s} seconds."
    )
    return json_reply(429, {"error": {"code": "429", "message": said}})


# ---------------------------------------------------------------- Anthropic


def _anthropic(told: Told) -> Headers:
    headers = {}
    for one in told.standings:
        name = f"anthropic-ratelimit-{one.name.replace('_', '-')}"
        headers[f"{name}-limit"] = f"{one.per_minute:.0f}"
        headers[f"{name}-remaining"] = str(one.remaining)
        whole_at = datetime.fromtimestamp(math.ceil(told.today + one.reset_s), UTC)
        headers[f"{name}-reset"] = whole_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return headers | _whole_seconds(told)


def _refuse_anthropic(_told: Told, refusal: Refusal) -> Reply:
    what = refusal.name.replace("_", " ")
    said = f"This request would exceed your organization's rate limit of {refusal.per_minute:.0f} {what} per minute."
    error = {"type": "rate_limit_error", "message": said}
    return json_reply(429, {"type": "error", "error": error, "request_id": "req_0"})


# ---------------------------------------------------------------- others


def _draft(told: Told) -> Headers:
    if not told.standings:
        return {}
    policies = (f'"{one.name}";q={one.per_minute:.0f};w={_WINDOW_S}' for one in told.standings)
    standings = (f'"{one.name}";r={one.remaining};t={math.ceil(one.reset_s)}' for one in told.standings)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(standings)} | _whole_seconds(told)


def _refuse_draft(_told: Told, refusal: Refusal) -> Reply:
    problem: dict[str, Any] = {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "violated-policies": [refusal.name],
    }
    return json_reply(429, problem)


def _whole_seconds(told: Told) -> Headers:
    if told.refusal is None or told.refusal.retry_after_s is None:
        return {}
    return {"Retry-After": str(math.ceil(told.refusal.retry_after_s))}


def _both_waits(told: Told) -> Headers:
    if told.refusal is None or told.refusal.retry_after_s is None:
        return {}
    milliseconds = math.ceil(told.refusal.retry_after_s * _SECOND_MS)
    return {**_whole_seconds(told), "retry-after-ms": str(milliseconds)}


def _nothing(_told: Told) -> Headers:
    return {}


def _refuse_curtly(_told: Told, _refusal: Refusal) -> Reply:
    """Say nothing that helps, neither how long nor which limit."""
    return error_reply(429, ErrorBody("Too many requests.", type="too_many_requests", code="rate_limit_exceeded"))


NOTICES: Mapping[str, Notice] = MappingProxyType(
    {
        "openai": Notice(_openai, _refuse_openai),
        "azure": Notice(_azure, _refuse_azure),
        "anthropic": Notice(_anthropic, _refuse_anthropic, overload="529"),
        "draft": Notice(_draft, _refuse_draft),
        "retry-after": Notice(_whole_seconds, _refuse_curtly),
        "none": Notice(_nothing, _refuse_curtly, asks_to_wait=False),
    }
)
