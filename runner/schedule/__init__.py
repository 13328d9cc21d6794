"""Owns calling a suite by the clock: entries for the schedulers that machines have, and what is installed of them."""

from __future__ import annotations

from runner.schedule.entry import ScheduleEntry, entry_of, zone_info
from runner.schedule.expression import Cron, next_times, read_expression
from runner.schedule.formats import FORMATS, INSTALLERS
from runner.schedule.installed import Installed, installed_entries

__all__ = [
    "FORMATS",
    "INSTALLERS",
    "Cron",
    "Installed",
    "ScheduleEntry",
    "entry_of",
    "installed_entries",
    "next_times",
    "read_expression",
    "zone_info",
]
