"""Owns the commands that steer a running run: `pause`, `unpause` and `set`; and how its answer reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from runner.cli.output import print_json, print_result, say, table
from runner.folder.layout import RunFolder
from runner.pipeline.remote import ask
from runner.pipeline.sending.steering import Change, Command, Pause, Unpause
from runner.progress import duration

_RunDir = Annotated[Path, typer.Argument(help="The folder of a running run.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")]


def pause(run_dir: _RunDir, *, as_json: _Json = False) -> None:
    """Let a running run send nothing more until `unpause`.

    What is under way comes in and is kept. The pause counts against no deadline of a row. A run that is started again
    begins unpaused.
    """
    live = _steer(run_dir, Pause(), as_json=as_json)
    if not as_json:
        print_result(f"paused; {live['in_flight']} under way may come in\n\nevalrunner unpause {run_dir}")


def unpause(run_dir: _RunDir, *, as_json: _Json = False) -> None:
    """Let a paused run go on, at the pace of before."""
    live = _steer(run_dir, Unpause(), as_json=as_json)
    if not as_json:
        print_result(f"running; it was paused for {duration(live['paused_s'])} in all")


def set_limits(
    run_dir: _RunDir,
    changes: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE…", help="Limits; null takes one off.", show_default=False)
    ],
    *,
    as_json: _Json = False,
) -> None:
    """Change the limits of a running run, at once.

    The keys are limits.max_in_flight, limits.requests_per_minute, limits.tokens_per_minute,
    limits.input_tokens_per_minute and limits.output_tokens_per_minute. A session that goes on with the run later
    begins with the config's limits again.

    **Examples**

    evalrunner set outputs/my-eval/20261122T032151Z-5f40 limits.max_in_flight=4

    evalrunner set RUN_DIR limits.requests_per_minute=500 limits.tokens_per_minute=null
    """
    live = _steer(run_dir, Change(tuple(changes)), as_json=as_json)
    if not as_json:
        print_result(table(_limit_rows(live)))


def describe_live(live: dict[str, Any]) -> str:
    """Return what a running run says of itself as people read it."""
    pace = f"{live['requests_per_s']:,.1f} req/s, {live['tokens_per_s']:,.0f} tok/s, ETA {duration(live['eta_s'])}"
    rows = [
        ("now", "paused" if live["paused"] else "running"),
        ("done", f"{live['done']:,} of {live['total']:,}, {live['failed']:,} of them failed"),
        ("in flight", f"{live['in_flight']:,}, and {live['waiting']:,} wait for their next attempt"),
        ("pace", pace),
        *([("server", f"asks to wait {duration(live['frozen_for_s'])}")] if live["frozen_for_s"] else ()),
        *_limit_rows(live),
    ]
    slowest = [
        (
            one["sample_id"] + (f" and {one['samples'] - 1} more" if one["samples"] > 1 else ""),
            duration(one["age_s"]),
            str(one["attempt"]),
            one["server"],
        )
        for one in live["slowest"]
    ]
    text = table(rows)
    return f"{text}\n\n{table([('slowest under way', 'age', 'attempt', 'server'), *slowest])}" if slowest else text


def _steer(run_dir: Path, command: Command, *, as_json: bool) -> dict[str, Any]:
    live = ask(RunFolder(run_dir), command)
    if as_json:
        print_json({"run_dir": str(run_dir), **live})
    elif "warning" in live:
        say(f"warning: {live['warning']}")
    return live


def _limit_rows(live: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the limits in force of each server, under its name where there are several."""
    rows, servers = [], live["servers"]
    for server in servers:
        if len(servers) > 1:
            state = "out" if server["out"] else f"{server['in_flight']:,} in flight"
            rows.append((server["name"], state))
        for name, limit in server["limits"].items():
            value = limit["value"]
            rows.append((f"limits.{name}", "none" if value is None else f"{value:,g} ({limit['source']})"))
    return rows
