"""Owns the commands that read a run folder again, byte by byte: `verify` and `reseal`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli.output import print_json, print_result, say
from runner.config import config_from_dict
from runner.errors import DamagedError, RunFolderError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
from runner.folder.manifest import read_manifest, write_manifest
from runner.pipeline.opening import open_existing, sealing_of
from runner.pipeline.requests.adapters import renew_adapter
from runner.pipeline.scores.judging import renew_summary
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
