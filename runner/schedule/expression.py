"""Owns cron expressions: reading five fields as Debian's cron does, and the times they stand for.

cronsim is the judge of what is valid and when it is; its additions that no cron daemon has (seconds, `L`, `#`) are
refused, since an entry has to mean the same in every format.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from cronsim import CronSim, CronSimError

from runner.errors import UsageError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS: Final = 5
_HINT: Final = (
    'minute hour day-of-month month day-of-week, e.g. --at "0 2 * * *" for 02:00 every day; @daily works, too'
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A valid expression: its five fields as text, and the numbers that each allows (Sunday is 0).

    `either_day` says that a day counts when its date or its weekday fits, as cron does where neither field begins with
    a star; otherwise both have to.
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either_day: bool


def read_expression(text: str) -> Cron:
    """Return what `--at` says. Raises UsageError."""
    fields = _MACROS.get(text.strip().lower(), text).split()
    if text.strip().lower() == "@reboot":
        raise UsageError("--at: @reboot is no time of day", hint=_HINT)
    if len(fields) != _FIELDS:
        extra = "; a field of seconds is not cron's" if len(fields) == _FIELDS + 1 else ""
        raise UsageError(f"--at: expected five fields, found {len(fields)}{extra}", hint=_HINT)
    if any(sign in fields[2] + fields[4].upper().replace("JUL", "") for sign in "#L") or "L" in fields[2].upper():
        raise UsageError("--at: L and # are not understood by cron and Kubernetes", hint=_HINT)
    plain = " ".join(fields)
    try:
        read = CronSim(plain, datetime(2024, 1, 1, tzinfo=UTC))
        next(read)
    except CronSimError as error:
        raise UsageError(f"--at: {str(error)[0].lower()}{str(error)[1:]} in {plain!r}", hint=_HINT) from None
    except StopIteration:
        raise UsageError(f"--at: {plain!r} never comes", hint=_HINT) from None
    weekdays = {int(str(day)) % 7 for day in read.weekdays}
    return Cron(
        text=plain,
        minutes=tuple(sorted(read.minutes)),
        hours=tuple(sorted(read.hours)),
        days=tuple(sorted(read.days)),
        months=tuple(sorted(read.months)),
        weekdays=tuple(sorted(weekdays)),
        either_day=not read.day_and,
    )


def next_times(cron: Cron, zone: ZoneInfo, after: datetime, count: int) -> list[datetime]:
    """Return the next times after an aware moment, in the zone."""
    return list(islice(CronSim(cron.text, after.astimezone(zone)), count))


def longest_wait_s(cron: Cron, deadline: str) -> int:
    """Return the seconds from the start that is farthest before a time of day (HH:MM) to it, at most a day."""
    hour, minute = (int(part) for part in deadline.split(":")[:2])
    end = timedelta(hours=hour, minutes=minute)
    starts = [timedelta(hours=one, minutes=other) for one in cron.hours for other in cron.minutes]
    day = timedelta(days=1)
    return int(max((end - start) % day or day for start in starts).total_seconds())
