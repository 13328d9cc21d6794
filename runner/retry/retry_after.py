"""Owns reading how long a server asks to wait: `Retry-After` in every form met, and the rate-limit reset headers.

Forms: `retry-after-ms: 1200` (Azure OpenAI), `Retry-After` as seconds, as a date or as any other form of `durations`.
What cannot be read, and negative numbers (Azure sends -1), say nothing. Nothing here raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.durations import clamped, plain_number, wait_s_from_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds the server asks to wait, 0 to 24 h, or null where it does not say.

    Header names are lower case. `now` is aware; a date that has passed means 0.
    """
    milliseconds = plain_number(headers.get("retry-after-ms", "").strip())
    if milliseconds is not None:
        return clamped(milliseconds / 1000.0)
    return wait_s_from_text(headers.get("retry-after", ""), now=now)


def rate_limit_reset_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds until the exhausted limits are reset, or null when none is known to be exhausted.

    For a 429 without `Retry-After`: of `x-ratelimit-*-requests` and `-tokens`, those whose `remaining` is 0 count, and
    the later reset. At OpenAI the reset is when the limit is whole again, not when one more request fits, so this is an
    upper bound. Other families of these headers exist and are ignored.
    """
    waits = [
        wait_s
        for family in ("requests", "tokens")
        if plain_number(headers.get(f"x-ratelimit-remaining-{family}", "").strip()) == 0.0
        and (wait_s := wait_s_from_text(headers.get(f"x-ratelimit-reset-{family}", ""), now=now)) is not None
    ]
    return max(waits, default=None)
