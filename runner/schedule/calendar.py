"""Owns a cron expression as calendar events of systemd: the same times, in as many lines as that takes.

Sources: systemd.time(7), crontab(5). A calendar event asks for date and weekday at once; where cron takes either, two
lines say so, and systemd starts a unit once for a moment that both name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.schedule.expression import Cron

_WEEKDAYS: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def calendar_events(cron: Cron, zone: str) -> list[str]:
    """Return the values of `OnCalendar=` for an expression in a time zone."""
    months = _numbers(cron.months, 12)
    clock = f"{_numbers(cron.hours, 24)}:{_numbers(cron.minutes, 60)}:00 {zone}"
    weekdays = "" if len(cron.weekdays) == len(_WEEKDAYS) else ",".join(_WEEKDAYS[one] for one in cron.weekdays) + " "
    by_date = f"*-{months}-{_numbers(cron.days, 31)}"
    if cron.either_day:
        return [f"{by_date} {clock}", f"{weekdays}*-{months}-* {clock}"]
    return [f"{weekdays}{by_date} {clock}"]


def _numbers(values: Sequence[int], count: int) -> str:
    return "*" if len(values) == count else ",".join(f"{value:02d}" for value in values)
