"""Owns the units of systemd: a hardened service and the timer that starts it, for a user's own manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.schedule.calendar import calendar_events
from runner.schedule.quoting import systemd_path, systemd_word

if TYPE_CHECKING:
    from runner.schedule.entry import ScheduleEntry

PREFIX: Final = "evalrunner-"
# What a night needs at most to end its run (45 s, a minute, 10 s) and to tell whom it can.
_STOP_S: Final = 300
MARK: Final = "# Written by evalrunner schedule"


def units(entry: ScheduleEntry) -> dict[str, str]:
    """Return the text of each unit, by the name of its file."""
    name = f"{PREFIX}{entry.id}"
    return {f"{name}.service": _service(entry), f"{name}.timer": _timer(entry)}


def write(entry: ScheduleEntry) -> str:
    """Return both units as one text, each under the name of its file."""
    return "\n".join(f"# ~/.config/systemd/user/{name}\n{text}" for name, text in units(entry).items())


def _service(entry: ScheduleEntry) -> str:
    first, *rest = entry.command
    words = [systemd_word(first, first=True), *(systemd_word(word) for word in rest)]
    timeout = "infinity" if entry.longest_s is None else str(entry.longest_s)
    names = ", ".join(entry.variables) or "none"
    writable = "\n".join(f"ReadWritePaths={systemd_path(path)}" for path in entry.outputs)
    return f"""\
{MARK}. Exit 4, a regression, shows as a failed unit: it is meant to.
[Unit]
Description=evalrunner nightly {entry.id}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={" ".join(words)}
# Half an hour after nightly.deadline; a night ends itself before that.
TimeoutStartSec={timeout}
# A night ends its runs itself, and lets answers under way come in: only the night is told to stop, and has time for it.
KillMode=mixed
TimeoutStopSec={_STOP_S}
# Variables (NAME=value, one a line; mode 0600), of which the configs ask for: {names}
EnvironmentFile=-%h/.config/evalrunner/{entry.id}.env
UMask=0077
Nice=10
NoNewPrivileges=yes
PrivateTmp=yes
# A user's manager protects files only in a name space of the user's own.
PrivateUsers=yes
ProtectSystem=strict
{writable}
ReadWritePaths=-%C/evalrunner
"""


def _timer(entry: ScheduleEntry) -> str:
    events = "\n".join(f"OnCalendar={event}" for event in calendar_events(entry.cron, entry.zone))
    return f"""\
{MARK} --at "{entry.cron.text}"
[Unit]
Description=evalrunner nightly {entry.id}

[Timer]
{events}
# A time that was missed (switched off, asleep) is made up for.
Persistent=true
RandomizedDelaySec=60

[Install]
WantedBy=timers.target
"""
