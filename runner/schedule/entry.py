"""Owns what is scheduled: the configs, when, where they write, which variables they need. Formats make text of it."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runner.errors import UsageError
from runner.schedule.expression import longest_wait_s
from runner.schedule.quoting import refuse_unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.config import LoadedConfig
    from runner.schedule.expression import Cron

_GRACE_S = 1800


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """One entry: `evalrunner nightly` for these configs. All paths are absolute.

    `longest_s` is how long a night may take before the scheduler ends it, half an hour after the deadline; null
    without one. `variables` are the names that the configs ask for, never values.
    """

    id: str
    configs: tuple[str, ...]
    cron: Cron
    zone: str
    python: str
    outputs: tuple[str, ...]
    variables: tuple[str, ...]
    longest_s: int | None

    @property
    def command(self) -> tuple[str, ...]:
        """The words of the command that a schedule calls."""
        return (self.python, "-m", "runner", "nightly", *self.configs)


def entry_of(loaded: Sequence[LoadedConfig], cron: Cron) -> ScheduleEntry:
    """Return the entry of some configs. Raises UsageError, also where they do not agree on the time zone."""
    zones = {one.config.nightly.time_zone: one for one in loaded}
    if len(zones) > 1:
        places = ", ".join(f"{zone} ({one.where('nightly.time_zone')})" for zone, one in zones.items())
        raise UsageError(f"the configs of one entry have several time zones: {places}", hint="make them agree")
    (zone,) = zones
    configs = tuple(os.path.abspath(one.path) for one in loaded)  # noqa: PTH100 - a link may be what is meant
    outputs = tuple(dict.fromkeys(one.config.output.dir for one in loaded))
    for path in (*configs, *outputs, sys.executable):
        refuse_unusable(path)
    waits = [_wait_s(one, cron) for one in loaded]
    longest = None if None in waits else max(wait for wait in waits if wait is not None) + _GRACE_S
    return ScheduleEntry(_identity(configs), configs, cron, zone, sys.executable, outputs, _variables(loaded), longest)


def zone_info(name: str) -> ZoneInfo:
    """Return a time zone. Raises UsageError where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"nightly.time_zone: no time zone {name!r}", hint="e.g. Europe/Zurich, or UTC") from None


def _wait_s(one: LoadedConfig, cron: Cron) -> int | None:
    deadline = one.config.nightly.deadline
    return None if deadline is None else longest_wait_s(cron, deadline)


def _identity(configs: Sequence[str]) -> str:
    """Name an entry by its configs: the same ones at another time replace it."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(configs[0]).stem).strip("-")[:40] or "night"
    return f"{name}-{hashlib.sha256(chr(0).join(configs).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _variables(loaded: Sequence[LoadedConfig]) -> tuple[str, ...]:
    names: list[str | None] = []
    for one in loaded:
        names.append(one.config.model.api_key_env)
        names += [name for entry in one.config.notify for name in (entry.webhook_env, entry.apprise_env)]
    return tuple(dict.fromkeys(name for name in names if name))
