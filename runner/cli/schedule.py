"""Owns `schedule`: entries for systemd, cron, GitHub Actions and Kubernetes; printed, installed, removed, listed."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from runner.cli.output import print_json, print_result, say, table
from runner.config import Notification, load_config
from runner.errors import RunnerError, UsageError
from runner.nightly import load_suite, records
from runner.notify import readiness, targets_of
from runner.schedule import (
    FORMATS,
    INSTALLERS,
    Installed,
    entry_of,
    installed_entries,
    next_times,
    read_expression,
    zone_info,
)

_LIST = "list"
_SHOWN = 3


def schedule(  # noqa: PLR0913 - a command has one parameter for each option that the contract names
    configs: Annotated[
        list[str], typer.Argument(help="Config files of one suite; or the word list.", show_default=False)
    ],
    *,
    at: Annotated[
        str | None, typer.Option(metavar="CRON", help='When, in nightly.time_zone, e.g. "0 2 * * *".')
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="|".join(FORMATS), help="Which scheduler.", show_default=False)
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Install it for this user: systemd or cron.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove what --install installed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")] = False,
) -> None:
    """Write an entry that calls `evalrunner nightly CONFIG…` by the clock, for the scheduler that a machine has.

    The entry is printed; --install puts it in place for this user, --remove takes it away again, and both can be
    repeated. No key is ever written: the entry names a file (mode 0600) or a secret that holds the variables.
    `evalrunner schedule list` shows what this user has installed, when it is due, and how its last night ended.

    **Examples**

    evalrunner schedule my.yaml --at "30 2 * * *" --format systemd --install

    evalrunner schedule a.yaml b.yaml --at "17 2 * * 1-5" --format github > .github/workflows/nightly.yml

    evalrunner schedule list
    """
    if configs == [_LIST] and at is None and form is None:
        _show_installed(as_json=as_json)
        return
    if at is None or form is None or form not in FORMATS:
        missing = "--at" if at is None else f"--format: one of {', '.join(FORMATS)}"
        raise UsageError(f"missing {missing}", hint='e.g. --at "30 2 * * *" --format systemd')
    if install and remove:
        raise UsageError("--install and --remove exclude each other")
    if (install or remove) and form not in INSTALLERS:
        raise UsageError(f"{form} is not installed from here", hint="print the entry and put it where it belongs")
    loaded = [load_config(path) for path in configs]
    entry = entry_of(loaded, read_expression(at))
    _warn_of_variables(entry.variables, [one for each in loaded for one in each.config.notify])
    upcoming = [one.isoformat() for one in next_times(entry.cron, zone_info(entry.zone), datetime.now(UTC), _SHOWN)]
    if install or remove:
        done = INSTALLERS[form][1 if remove else 0](entry)
        lines = {"id": entry.id, "done": done, "next": [] if remove else upcoming}
        print_json(lines) if as_json else print_result("\n".join(done))
    else:
        text = FORMATS[form](entry)
        if as_json:
            print_json({"id": entry.id, "format": form, "entry": text, "next": upcoming})
            return
        print_result(text.rstrip("\n"))
    if not remove:
        say(f"next: {', '.join(upcoming)}")


def _warn_of_variables(names: tuple[str, ...], entries: list[Notification]) -> None:
    unset = [name for name in names if not os.environ.get(name)]
    if unset:
        say(f"not set in this shell: {', '.join(unset)}; the schedule needs them in its own file or secret")
    for one in readiness(targets_of(entries), os.environ):
        if one.problem and "not set" not in one.problem:
            say(f"warning: {one.label}: {one.problem}")


def _show_installed(*, as_json: bool) -> None:
    entries = installed_entries()
    if as_json:
        print_json({"entries": [{**asdict(one), "next": _next(one), "last": _last(one)} for one in entries]})
    elif entries:
        head = ("id", "format", "at", "time zone", "next", "last night")
        rows = ((one.id, one.format, one.at, one.zone, _next(one) or "?", _last_text(_last(one))) for one in entries)
        print_result(table([head, *rows]))
    else:
        print_result("nothing is installed for this user")


def _next(one: Installed) -> str | None:
    """Return when an entry is due next; null where it was changed by hand into what cannot be read."""
    try:
        (due,) = next_times(read_expression(one.at), zone_info(one.zone), datetime.now(UTC), 1)
    except UsageError:
        return None
    return due.isoformat()


def _last(one: Installed) -> dict[str, Any] | None:
    """Return what became of an entry's last night; null where it had none, or its configs cannot be read any more."""
    try:
        suite = load_suite([Path(config) for config in one.configs]) if one.configs else None
    except RunnerError:
        return None
    newest = next(records(suite.folder), None) if suite is not None else None
    if suite is None or newest is None:
        return None
    return {
        "night": newest.date,
        "ended_at": newest.ended_at,
        "exit_code": newest.exit_code if newest.ended_at is not None else None,
        "verdict": newest.verdict if newest.ended_at is not None else "not ended",
        "page": str(suite.folder.page),
    }


def _last_text(last: dict[str, Any] | None) -> str:
    if last is None:
        return "–"
    ended = "" if last["exit_code"] is None else f" (exit {last['exit_code']})"
    return f"{last['night']}: {last['verdict']}{ended}"
