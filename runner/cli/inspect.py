"""Owns the commands that look at run folders: `status`, `verify` and `reseal`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.gatetext import gate_lines
from runner.cli.output import print_json, print_result, say, table
from runner.cli.scoretext import score_lines
from runner.cli.steer import describe_live
from runner.config import config_from_dict
from runner.errors import DamagedError, RunFolderError, RunnerError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
from runner.folder.manifest import RUNNING, read_manifest, write_manifest
from runner.pipeline import list_runs, open_existing, sealing_of, status_of
from runner.pipeline.locate import Located
from runner.pipeline.remote import ask
from runner.pipeline.requests.adapters import renew_adapter
from runner.pipeline.scores.judging import renew_summary
from runner.pipeline.sending.sharedlimit import shared_with
from runner.pipeline.sending.steering import Look
from runner.pipeline.storing.recovery import recover
from runner.pipeline.storing.reseal import reseal as reseal_run
from runner.pipeline.storing.scoreparts import with_scoring
from runner.pipeline.storing.verify import salvage
from runner.pipeline.storing.verify import verify as verify_run

if TYPE_CHECKING:
    from runner.folder.manifest import Manifest
    from runner.pipeline.storing.plan import Sealing
    from runner.pipeline.storing.verify import Report

_RunDir = Annotated[Path, typer.Argument(help="The run folder.", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, errors too.")]


def status(
    path: Annotated[Path, typer.Argument(help="A run folder, or a folder of runs.")] = Path("outputs"),
    *,
    as_json: _Json = False,
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


def verify(
    run_dir: _RunDir,
    *,
    salvage_dir: Annotated[
        Path | None,
        typer.Option("--salvage", metavar="DIR", help="Copy all that is sound into this new run folder."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Read a run's journal, commits and Parquet again, with checksums, and name what is damaged.

    Exits with 0 when everything is sound, with 74 otherwise. With --salvage, sound parts are copied, parts of
    `responses` are made again from `raw` where they can be, and sound journal frames are kept; resume the new folder to
    send what was lost.
    """
    folder = RunFolder(run_dir)
    if not folder.root.is_dir():
        raise RunFolderError(f"{run_dir}: no such folder")
    with hold_lock(folder):
        if salvage_dir is None:
            report = verify_run(folder)
        else:
            if salvage_dir.exists() and any(salvage_dir.iterdir()):
                raise RunFolderError(f"{salvage_dir}: is not empty", hint="--salvage wants a new folder")
            target = RunFolder(salvage_dir.absolute())
            report = salvage(folder, target, _sealing(target, read_manifest(folder)))
    if as_json:
        print_json({**asdict(report), "sound": report.sound, "salvaged_to": salvage_dir and str(salvage_dir)})
    else:
        print_result(_describe_report(report, salvage_dir))
    raise typer.Exit(0 if report.sound or salvage_dir is not None else DamagedError.exit_code)


def reseal(run_dir: _RunDir, *, as_json: _Json = False) -> None:
    """Parse the kept response bodies again, for example after a fixed adapter. No request is sent.

    The response half of the adapter file is read as it is now, and kept with the run. Rows whose bodies were not kept
    (output.keep_raw: false) stay as they are.
    """
    folder, manifest = open_existing(run_dir)
    with hold_lock(folder):
        if renew_adapter(manifest, config_from_dict(manifest.config, folder.root), say):
            write_manifest(folder, manifest)
        config = config_from_dict(manifest.config, folder.root)
        sealing = with_scoring(_sealing(folder, manifest), manifest, config)
        log = read_commits(folder)
        recover(sealing, log)
        result = reseal_run(sealing, log)
        renew_summary(config, manifest, log, sealing.scoring)
    if as_json:
        print_json(asdict(result))
    else:
        print_result(f"{result.rows:,} rows in {result.parts:,} parts\nbefore: {result.before}\nafter:  {result.after}")


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


def _describe_report(report: Report, salvage_dir: Path | None) -> str:
    lines = [
        (
            f"{report.files:,} files, {report.bytes:,} bytes, {report.rows:,} rows, "
            f"{report.journal_frames:,} frames in the journal"
        )
    ]
    if report.torn_bytes:
        lines.append(f"a torn tail of {report.torn_bytes:,} bytes in the journal: never acknowledged, harmless")
    lines += [f"damaged: {finding.file}: {finding.problem}" for finding in report.findings]
    if report.sound:
        lines.append("sound")
    elif salvage_dir is None:
        lines.append(f"evalrunner verify {report.run_dir} --salvage DIR copies all that is sound")
    else:
        lines.append(f"all that is sound is in {salvage_dir}; evalrunner resume {salvage_dir} sends the rest")
    return "\n".join(lines)


def _sealing(folder: RunFolder, manifest: Manifest) -> Sealing:
    return sealing_of(folder, manifest, config_from_dict(manifest.config, folder.root))
