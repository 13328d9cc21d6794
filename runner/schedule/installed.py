"""Owns what of ours is installed for this user: found by our marks, in the crontab and among the units of systemd."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.schedule import crontab, unitfiles
from runner.schedule.cron import system_zone
from runner.schedule.quoting import cron_words, systemd_words
from runner.schedule.systemd import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_CRONTAB = re.compile(r"^# evalrunner:(\S+) begin\n(.*?)^# evalrunner:\1 end$", re.MULTILINE | re.DOTALL)
_ZONE = re.compile(r"^# (\S+)\. ")
_FIELDS = re.compile(r"^((?:[^#\s]\S*\s+){4}\S+)\s+\S", re.MULTILINE)
_AT = re.compile(rf'^{re.escape(MARK)} --at "([^"\n]+)"$', re.MULTILINE)
_START = re.compile(r"^ExecStart=(.*)$", re.MULTILINE)
_EVENT_ZONE = re.compile(r"^OnCalendar=.* (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Installed:
    """One entry: its id, which scheduler holds it, the expression and the time zone that it was written for.

    `configs` are the files that it calls `nightly` with; none where it was changed by hand into another command.
    """

    id: str
    format: str
    at: str
    zone: str
    configs: tuple[str, ...] = ()


def installed_entries() -> list[Installed]:
    """Return the entries of this user. Raises UsageError where a crontab cannot be read."""
    return [*_of_systemd(), *(_of_cron(crontab.read()) if shutil.which("crontab") else ())]


def _of_systemd() -> Iterator[Installed]:
    for path in sorted(unitfiles.folder().glob("evalrunner-*.timer")):
        text = path.read_text("utf-8", "replace")
        at, zone = _AT.search(text), _EVENT_ZONE.search(text)
        if at and zone:
            service = path.with_suffix(".service")
            start = _START.search(service.read_text("utf-8", "replace")) if service.exists() else None
            configs = _configs(systemd_words(start[1])) if start else ()
            yield Installed(path.stem.removeprefix("evalrunner-"), "systemd", at[1], zone[1], configs)


def _of_cron(text: str) -> Iterator[Installed]:
    for found in _IN_CRONTAB.finditer(text):
        fields, zone = _FIELDS.search(found[2]), _ZONE.search(found[2])
        if fields:
            line = found[2][fields.start() :].partition("\n")[0]
            at = " ".join(fields[1].split())
            yield Installed(found[1], "cron", at, zone[1] if zone else system_zone(), _configs(cron_words(line)))


def _configs(words: list[str]) -> tuple[str, ...]:
    """Return the configs in the words of `PYTHON -m runner nightly CONFIG… [>> LOG 2>&1]`."""
    found, rest = words[3:4] == ["nightly"], words[4:]
    redirected = rest.index(">>") if ">>" in rest else len(rest)
    return tuple(rest[:redirected]) if found else ()
