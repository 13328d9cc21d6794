"""Owns what the headers of an answer say of a server's rate limits. Pure, and never raises.

Families met: OpenAI, Azure, Groq and many others `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` with resets as
Go durations; Anthropic `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` with
RFC 3339 times; the IETF draft "RateLimit header fields for HTTP" in its forms of several years: `RateLimit-Limit: 100`
with `-Remaining` and `-Reset`, all three in `RateLimit: limit=100, remaining=50, reset=7`, and `RateLimit:
"default";r=50;t=7` with `RateLimit-Policy: "default";q=100;w=60`. Names without a unit (`x-ratelimit-limit`) count
requests. Other families exist (`-tokens_usage_based`) and are ignored.

Values are hostile: Azure has sent -1 and 0 as limits, proxies send NaN, empty texts and numbers beyond all sense.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from runner.durations import plain_number, wait_s_from_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Unit(StrEnum):
    """What a limit counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"


@dataclass(frozen=True, slots=True)
class LimitSeen:
    """What one answer says of one limit, nulls where it says nothing.

    `limit` is how much the server permits in `window_s` seconds (null: the server does not name its window),
    `remaining` how much of that was left, `reset_s` the seconds until all of it is there again.
    """

    unit: Unit
    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None
    window_s: float | None = None


# A limit beyond this permits whatever anybody can send; it is no limit, or no number.
_MOST = 1e12
_X = "x-ratelimit-{}-{}"
_ANTHROPIC = "anthropic-ratelimit-{}-{}"
_FAMILIES: tuple[tuple[Unit, str, str, str], ...] = (
    *(
        (unit, _X.format("limit", name), _X.format("remaining", name), _X.format("reset", name))
        for unit, name in ((Unit.REQUESTS, "requests"), (Unit.TOKENS, "tokens"))
    ),
    *(
        (unit, _ANTHROPIC.format(name, "limit"), _ANTHROPIC.format(name, "remaining"), _ANTHROPIC.format(name, "reset"))
        for unit, name in (
            (Unit.REQUESTS, "requests"),
            (Unit.TOKENS, "tokens"),
            (Unit.INPUT_TOKENS, "input-tokens"),
            (Unit.OUTPUT_TOKENS, "output-tokens"),
        )
    ),
    (Unit.REQUESTS, "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    (Unit.REQUESTS, "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"),
)
_NAMES = frozenset(name for _, *names in _FAMILIES for name in names) | {"ratelimit", "ratelimit-policy"}
_MEMBER = re.compile(r"(?:^|[;,\s])(limit|remaining|reset|[qrtw])=([0-9.]{1,20})")


def limits_in(headers: Mapping[str, str], *, now: datetime) -> list[LimitSeen]:
    """Return what the headers say, a value for each limit they name; names are lower case, `now` is aware."""
    if _NAMES.isdisjoint(headers):
        return []
    found = [_combined(headers)] if "ratelimit" in headers else []
    window_s = _members(headers.get("ratelimit-policy", "")).get("w")
    for unit, limit, remaining, reset in _FAMILIES:
        if limit not in headers and remaining not in headers:
            continue
        seen = LimitSeen(
            unit,
            limit=_limit(headers.get(limit, "")),
            remaining=_count(headers.get(remaining, "")),
            reset_s=wait_s_from_text(headers.get(reset, ""), now=now),
            window_s=window_s if limit == "ratelimit-limit" else None,
        )
        found.append(seen)
    return [seen for seen in found if seen.limit is not None or seen.remaining is not None]


def _combined(headers: Mapping[str, str]) -> LimitSeen:
    """Read the draft's single field, of either form, with its policy."""
    said, policy = _members(headers["ratelimit"]), _members(headers.get("ratelimit-policy", ""))
    limit = policy.get("q", said.get("limit"))
    return LimitSeen(
        Unit.REQUESTS,
        limit=None if limit is None or not 0 < limit < _MOST else limit,
        remaining=said.get("r", said.get("remaining")),
        reset_s=said.get("t", said.get("reset")),
        window_s=policy.get("w"),
    )


def _members(text: str) -> dict[str, float]:
    """Return the numbers of a field's first item by name."""
    found: dict[str, float] = {}
    for name, value in _MEMBER.findall(text[:200]):
        number = plain_number(value)
        if number is not None:
            found.setdefault(name, number)
    return found


def _limit(text: str) -> float | None:
    # "100, 100;w=60" is the limit and then the policies it comes from.
    limit = plain_number(text.partition(",")[0].partition(";")[0].strip())
    return limit if limit is not None and 0 < limit < _MOST else None


def _count(text: str) -> float | None:
    count = plain_number(text.partition(",")[0].strip())
    return count if count is not None and count < _MOST else None
