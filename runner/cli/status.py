"""Owns `evalrunner status`: which runs there are, and how one stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.gatetext import gate_lines
from runner.cli.output import print_json, print_result, say, table
from runner.cli.scoretext import score_lines
from runner.cli.steer import describe_live
from runner.errors import RunFolderError, RunnerError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.folder.manifest import RUNNING, read_manifest
from runner.pipeline.locate import Located, list_runs, status_of
from runner.pipeline.remote import ask
from runner.pipeline.sending.sharedlimit import shared_with
from runner.pipeline.sending.steering import Look

if TYPE_CHECKING:
    from runner.folder.manifest import Manifest


def status(
    path: Annotated[Path, typer.Argument(help="A run folder, or a folder of runs.")] = Path("outputs"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")] = False,
) -> None:
    """List runs, newest first, or show one run's state and totals.

    What a running run has sealed so far counts; answers still in its journal do not. Its own process is asked, too: how
    far it is, the limits in force and where they come from, and the requests that are under way for longest.
    """
    if (path / "manifest.json").exists():
        folder = RunFolder(path)
        manifest = read_manifest(folder)
        facts = _facts(folder, manifest)
        live = _live(folder) if facts["status"] == RUNNING else None
        if as_json:
            print_json(facts | {"live": live})
        else:
            print_result(_describe(facts) + (f"\n\n{describe_live(live)}" if live else ""))
        return
    if not path.is_dir():
        raise RunFolderError(f"{path}: no such folder", hint="name a run folder or a folder of runs, e.g. outputs")
    runs = list_runs(path)
    rows = [_row(run) for run in runs if run.manifest]
    if as_json:
        print_json({"runs": [dict(zip(_HEAD, row, strict=True)) for row in rows]})
    elif rows:
        print_result(table([_HEAD, *rows]))
    else:
        print_result(f"no runs in {path}")


_HEAD = ("name", "run_id", "status", "created", "rows", "failed", "run_dir")


def _row(run: Located) -> tuple[str, ...]:
    manifest = run.manifest
    if manifest is None:
        return ("",) * len(_HEAD)
    by_status = read_commits(run.folder).totals.by_status
    rows = sum(by_status.values())
    return (
        manifest.name,
        manifest.run_id,
        status_of(run),
        manifest.created_at[:19],
        f"{rows}",
        f"{by_status['failed']}",
        str(run.folder.root),
    )


def _facts(folder: RunFolder, manifest: Manifest) -> dict[str, Any]:
    totals = read_commits(folder).totals
    segments = sorted(folder.journal.glob("*.journal"))
    state = status_of(Located(folder, manifest.run_id, manifest))
    return {
        "name": manifest.name,
        "run_id": manifest.run_id,
        "run_dir": str(folder.root),
        "status": state,
        "created_at": manifest.created_at,
        "sessions": len(manifest.sessions),
        "samples": manifest.dataset.get("samples"),
        "by_status": {name: count for name, count in sorted(totals.by_status.items()) if count},
        "http_requests": totals.http_requests,
        "rate_limited": totals.rate_limited,
        "limit_shared_with": shared_with(manifest.run_id) if state == RUNNING else None,
        "total_tokens": totals.total_tokens,
        "cost_usd": totals.cost,
        "possibly_billed": totals.possibly_billed,
        "superseded": totals.superseded,
        "journal_bytes_not_sealed": sum(path.stat().st_size for path in segments),
        "scores": manifest.summary.get("scores", {}),
        "gates": manifest.summary.get("gates", []),
        "last_message": manifest.sessions[-1].message if manifest.sessions else None,
    }


def _live(folder: RunFolder) -> dict[str, Any] | None:
    """Return what the run's process says of itself; null, and a message why, where it cannot be asked."""
    try:
        return ask(folder, Look())
    except RunnerError as error:
        say(error.message)
        return None


def _describe(facts: dict[str, Any]) -> str:
    plain = {name: value for name, value in facts.items() if name not in {"scores", "gates"}}
    rows = [(name.replace("_", " "), "–" if value is None else str(value)) for name, value in plain.items()]
    text = table([*rows, *score_lines(facts["scores"]), *gate_lines(facts["gates"])])
    return text if facts["status"] in {"complete", "running"} else f"{text}\n\nevalrunner resume {facts['run_dir']}"
