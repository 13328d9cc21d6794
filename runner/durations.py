"""Owns reading lengths of time as servers write them, and dates as lengths of time from now.

Forms: seconds `3` or `1.5`, a Go duration such as `6m0s` or `12ms` (OpenAI), an HTTP date (RFC 9110, 10.2.3), an RFC
3339 time (Anthropic). Anything else, NaN, infinities and negative numbers say nothing. Nothing here raises.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 86_400.0

# No form is longer; what is longer is not worth parsing.
_MAX_CHARACTERS = 100
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")
# Go writes the micro sign, others the Greek letter.
_GO_UNIT_S = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GO_PART = re.compile(rf"([0-9]+(?:\.[0-9]*)?)({'|'.join(sorted(_GO_UNIT_S, key=len, reverse=True))})")
_GO_DURATION = re.compile(rf"(?:{_GO_PART.pattern})+")


def wait_s_from_text(text: str, *, now: datetime) -> float | None:
    """Read a header value of any form but milliseconds as seconds from `now`, 0 to 24 h; null if it is none of them."""
    text = text.strip()
    if not text or len(text) > _MAX_CHARACTERS:
        return None
    seconds = plain_number(text)
    if seconds is None:
        seconds = _go_duration_s(text)
    if seconds is None:
        seconds = _until_s(text, now)
    return None if seconds is None else clamped(seconds)


def clamped(seconds: float) -> float:
    """Return a length of time between 0 and 24 h."""
    return min(max(seconds, 0.0), MAX_WAIT_S)


def plain_number(text: str) -> float | None:
    """Return a number without sign or exponent; null for anything else."""
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
