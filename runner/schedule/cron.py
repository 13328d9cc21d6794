"""Owns the lines of a crontab: between two marks, so that they are found again and no other line is touched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner.errors import UsageError
from runner.schedule.entry import zone_info
from runner.schedule.quoting import cron_command, shell_word

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from runner.schedule.entry import ScheduleEntry

_LOCALTIME: Final = Path("/etc/localtime")


def write(entry: ScheduleEntry) -> str:
    """Return the lines. Raises UsageError where the entry's zone is not the one that cron runs in."""
    _refuse_other_zone(entry.zone, system_zone())
    command = " ".join(shell_word(word) for word in entry.command)
    log = shell_word(f"{entry.outputs[0]}/_nightly-{entry.id}.log")
    needed = f" ({', '.join(entry.variables)})" if entry.variables else ""
    variables = f'e="$HOME"/.config/evalrunner/{entry.id}.env; set -a; [ ! -f "$e" ] || . "$e"; set +a'
    script = f"{variables}; exec {command} >> {log} 2>&1"
    return f"""\
{begin_mark(entry.id)}
# {entry.zone}. cron mails what a command prints (MAILTO at the top of the crontab); this one prints into its log.
# Variables{needed}: ~/.config/evalrunner/{entry.id}.env, NAME='value' lines, mode 0600.
{entry.cron.text} {cron_command(f"/bin/sh -c {shell_word(script)}")}
{end_mark(entry.id)}
"""


def begin_mark(identity: str) -> str:
    """Return the line before an entry's."""
    return f"# evalrunner:{identity} begin"


def end_mark(identity: str) -> str:
    """Return the line behind an entry's."""
    return f"# evalrunner:{identity} end"


def system_zone() -> str:
    """Return the name of the zone that cron runs in."""
    target = str(_LOCALTIME.resolve())
    return target.partition("/zoneinfo/")[2] or "UTC"


def without_entry(crontab: str, identity: str) -> str:
    """Return a crontab without an entry's lines. Raises UsageError where its marks do not belong together."""
    lines = crontab.splitlines(keepends=True)
    bare = [line.rstrip("\r\n") for line in lines]
    begins = [number for number, line in enumerate(bare) if line == begin_mark(identity)]
    ends = [number for number, line in enumerate(bare) if line == end_mark(identity)]
    if not begins and not ends:
        return crontab
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise UsageError(
            f"the crontab's lines evalrunner:{identity} have been changed by hand",
            hint="`crontab -e`: leave one begin and one end line of it, or none",
        )
    return "".join(lines[: begins[0]] + lines[ends[0] + 1 :])


def with_entry(crontab: str, identity: str, text: str) -> str:
    """Return a crontab with an entry's lines at its end, in place of earlier ones."""
    kept = without_entry(crontab, identity)
    return kept + ("\n" if kept and not kept.endswith("\n") else "") + text


def _refuse_other_zone(wanted: str, system: str) -> None:
    if not same_clock(zone_info(wanted), zone_info(system)):
        raise UsageError(
            f"nightly.time_zone is {wanted}, and cron runs by this machine's clock, {system}",
            hint=f"Debian's cron knows no other zone: use --format systemd, or set nightly.time_zone: {system}",
        )


def same_clock(one: ZoneInfo, other: ZoneInfo) -> bool:
    """Say whether two zones show the same time on every day of two years from now."""
    today = datetime.now(UTC)
    moments = (today + timedelta(days=day) for day in range(731))
    return all(one.utcoffset(m.astimezone(one)) == other.utcoffset(m.astimezone(other)) for m in moments)
