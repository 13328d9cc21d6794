"""Owns the list of formats, and of those that can be installed on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runner.schedule import cron, crontab, github, kubernetes, systemd, unitfiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.schedule.entry import ScheduleEntry

FORMATS: Final[Mapping[str, Callable[[ScheduleEntry], str]]] = {
    "systemd": systemd.write,
    "cron": cron.write,
    "github": github.write,
    "kubernetes": kubernetes.write,
}
# What installs an entry, and what removes it: each says what it did, line by line.
INSTALLERS: Final[Mapping[str, tuple[Callable[[ScheduleEntry], list[str]], Callable[[ScheduleEntry], list[str]]]]] = {
    "systemd": (unitfiles.install, unitfiles.remove),
    "cron": (crontab.install, crontab.remove),
}
