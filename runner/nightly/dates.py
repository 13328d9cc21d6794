"""Owns the calendar of nights: which date a night has, when it ends, which dates had none. Pure; times are aware."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import date
    from zoneinfo import ZoneInfo

# Shorter by an hour than the shortest day (23 hours, when clocks go forward), so that the next night finds room.
LONGEST: Final = timedelta(hours=22)

_RUN_ID: Final = re.compile(r"nightly-([0-9]{8})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Night:
    """A night: the date in the suite's time zone on which it began, and when it ends (UTC)."""

    date: date
    ends_at: datetime

    @property
    def run_id(self) -> str:
        """Id of the night's runs, `nightly-20261127`; they sort by date."""
        return run_id_of(self.date)


def night_at(now: datetime, zone: ZoneInfo, deadline: str | None) -> Night:
    """Return the night that begins now; `deadline` is `HH:MM` of the zone's clocks, or null."""
    return Night(now.astimezone(zone).date(), end_of(now, zone, deadline))


def end_of(now: datetime, zone: ZoneInfo, deadline: str | None) -> datetime:
    """Return when a night that begins or goes on now has to end: at the deadline that comes next, 22 hours at most.

    Where clocks go forward over the deadline it is as long after midnight as on other days; where it comes twice, the
    first counts.
    """
    latest = now.astimezone(UTC) + LONGEST
    if deadline is None:
        return latest
    at = time.fromisoformat(deadline)
    today = now.astimezone(zone).date()
    candidates = (datetime.combine(today + timedelta(days=days), at, tzinfo=zone).astimezone(UTC) for days in range(3))
    return min(next(one for one in candidates if one > now), latest)


def dates_between(last: date, this: date) -> list[date]:
    """Return the dates after `last` and before `this`, oldest first."""
    return [last + timedelta(days=days) for days in range(1, (this - last).days)]


def run_id_of(night: date) -> str:
    """Return the id of the runs of a night."""
    return f"nightly-{night:%Y%m%d}"


def date_of(run_id: str) -> date | None:
    """Return the date of a nightly run id; null for any other name."""
    found = _RUN_ID.match(run_id)
    try:
        return datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=UTC).date() if found else None
    except ValueError:  # eight digits that are no date
        return None
