"""Owns reading how long a server asks to wait: `Retry-After` in every form met, and the rate-limit reset headers.

Forms: `retry-after-ms: 1200` (Azure OpenAI), `Retry-After: 3`, `1.5` or an HTTP date (RFC 9110, 10.2.3), a Go duration
such as `6m0s` or `12ms` (OpenAI's `x-ratelimit-reset-*`), an RFC 3339 time (Anthropic's `anthropic-ratelimit-*-reset`).
Anything else, NaN, infinities and negative numbers (Azure sends -1) say nothing. Nothing here raises.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RETRY_AFTER_S = 86_400.0

# No form is longer; what is longer is not worth parsing.
_MAX_CHARACTERS = 100
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")
# Go writes the micro sign, others the Greek letter.
_GO_UNIT_S = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GO_PART = re.compile(rf"([0-9]+(?:\.[0-9]*)?)({'|'.join(sorted(_GO_UNIT_S, key=len, reverse=True))})")
_GO_DURATION = re.compile(rf"(?:{_GO_PART.pattern})+")


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds the server asks to wait, 0 to 24 h, or null where it does not say.

    Header names are lower case. `now` is aware; a date that has passed means 0.
    """
    milliseconds = _number(headers.get("retry-after-ms", "").strip())
    if milliseconds is not None:
        return _clamp(milliseconds / 1000.0)
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
        if _number(headers.get(f"x-ratelimit-remaining-{family}", "").strip()) == 0.0
        and (wait_s := wait_s_from_text(headers.get(f"x-ratelimit-reset-{family}", ""), now=now)) is not None
    ]
    return max(waits, default=None)


def wait_s_from_text(text: str, *, now: datetime) -> float | None:
    """Read a header value of any form but milliseconds as seconds from `now`, 0 to 24 h; null if it is none of them."""
    text = text.strip()
    if not text or len(text) > _MAX_CHARACTERS:
        return None
    seconds = _number(text)
    if seconds is None:
        seconds = _go_duration_s(text)
    if seconds is None:
        seconds = _until_s(text, now)
    return None if seconds is None else _clamp(seconds)


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _number(text: str) -> float | None:
    # float() alone would also take "nan", "1_000", "+5" and digits of other scripts.
    if len(text) > _MAX_CHARACTERS or not _NUMBER.fullmatch(text):
        return None
    return float(text)


def _go_duration_s(text: str) -> float | None:
    if not _GO_DURATION.fullmatch(text):
        return None
    return sum(float(number) * _GO_UNIT_S[unit] for number, unit in _GO_PART.findall(text))


def _until_s(text: str, now: datetime) -> float | None:
    moment = _rfc3339(text) or _http_date(text)
    return None if moment is None else (moment - now).total_seconds()


def _rfc3339(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Without an offset it is a local time of a place we do not know.
    return moment if moment.tzinfo else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
