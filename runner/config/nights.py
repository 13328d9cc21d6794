"""Owns the rules of the section `nightly`: a time zone that exists, and a time of day."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

from runner.config.credentials import shown, shown_text
from runner.config.places import Finding, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)


def nightly_findings(values: Any) -> Iterator[Finding]:
    """Find a time zone that the system does not know, and a deadline that is no time of day."""
    name, deadline = (value_at(values, ("nightly", key)) for key in ("time_zone", "deadline"))
    if isinstance(name, str) and name and not _exists(name):
        close = get_close_matches(name, available_timezones(), n=1, cutoff=0.6)
        hint = f'did you mean "{close[0]}"?' if close else "names of the IANA database, e.g. Europe/Zurich"
        yield Finding(("nightly", "time_zone"), f"the time zone {shown_text(name)} does not exist", hint)
    if isinstance(deadline, str) and not _TIME_OF_DAY.fullmatch(deadline):
        yield Finding(("nightly", "deadline"), f"expected a time of day, found {shown(deadline)}", 'e.g. "06:00"')


def _exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # a folder or a file without a zone, a path out of the database, no name
        return False
    return True
