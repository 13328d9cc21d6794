"""Owns opening a run: its folder made or found, locked, recovered, and compared with its dataset."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any

from runner.config import to_dict
from runner.crash_points import crash_point
from runner.digest import digest_of
from runner.durable import create_folder
from runner.errors import RunFolderError
from runner.folder.commits import read_commits
from runner.folder.layout import SUPERSEDED, TABLES, RunFolder
from runner.folder.lock import hold_lock
from runner.folder.manifest import RUNNING, Manifest, Session, read_manifest, write_manifest
from runner.limiter import BreakerPolicy
from runner.pipeline.eventlog import EventLog
from runner.pipeline.locate import Where, identity_of, locate, refuse_other
from runner.pipeline.passes.again import find_again
from runner.pipeline.passes.scancache import save_scan, without_ids
from runner.pipeline.probe.checked import doubts_of, recent_check
from runner.pipeline.requests.adapters import kept_adapter, kept_endpoint
from runner.pipeline.requests.adapting import adapting_for, note_lessons
from runner.pipeline.requests.omissions import watch_for
from runner.pipeline.requests.pricing import kept_price, note_price
from runner.pipeline.sending.steering import reminders
from runner.pipeline.storing.dimension import Dimension
from runner.pipeline.storing.plan import Sealing
from runner.pipeline.storing.reading import RowContext
from runner.pipeline.storing.recovery import recover
from runner.pipeline.storing.scoreparts import ensure_scoring, with_scoring
from runner.pipeline.storing.sealing import create_tables
from runner.pipeline.storing.superseding import retract_failures
from runner.progress import Silent
from runner.readers import spool_stdin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runner.config import RunConfig
    from runner.folder.commits import CommitLog
    from runner.pipeline.locate import Located
    from runner.pipeline.passes.again import Again
    from runner.pipeline.passes.produce import Production
    from runner.pipeline.passes.scan import Scan
    from runner.pipeline.passes.todo import Todo
    from runner.pipeline.requests.adapting import Adapting
    from runner.pipeline.requests.omissions import OmissionWatch
    from runner.pipeline.requests.prepare import Prepared
    from runner.progress import Display
from runner.pipeline.survey import prepare_and_scan, production_of, refuse_unrenderable

# Of what a session was asked, so many of the last things are kept in the manifest.
_MOST_STEERED = 100


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out, beyond its config.

    `say` gets lines for the person watching; `reuse_input` takes what the folder holds again, as `resume` does:
    a spooled standard input, and the adapter as it was used. `only` names the statuses of rows that are sent again, and
    nothing else is; empty: what is missing is sent. `breaker` says when a server counts as out.
    """

    where: Where = field(default_factory=Where)
    display: Display = field(default_factory=Silent)
    say: Callable[[str], None] = lambda _: None
    debug: Callable[[str], None] | None = None
    catch_signals: bool = False
    reuse_input: bool = False
    warnings: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)


@dataclass(slots=True)
class OpenRun:
    """A run folder that is locked, recovered and compared with its dataset: ready to send what is left.

    `again` is set where only rows that stand already are sent again.
    """

    prepared: Prepared
    folder: RunFolder
    manifest: Manifest
    log: CommitLog
    sealing: Sealing
    scan: Scan
    production: Production
    events: EventLog
    options: RunOptions
    omissions: OmissionWatch | None = None
    adapting: Adapting | None = None
    doubts: list[str] = field(default_factory=list)
    again: Again | None = None
    writing: Lock = field(default_factory=Lock)

    def remember(self) -> None:
        """Write down what was learnt of the server, so that a later session need not be taught again."""
        if self.adapting is not None:
            with self.writing:
                note_lessons(self.manifest.capabilities, self.adapting, self.prepared.redactor)
                write_manifest(self.folder, self.manifest)

    def record_steering(self, entry: dict[str, Any]) -> None:
        """Write down what was asked of the running session. Raises StorageError."""
        with self.writing:
            steered = self.manifest.sessions[-1].steered
            steered.append({"at": utc_now(), **entry})
            del steered[:-_MOST_STEERED]
            write_manifest(self.folder, self.manifest)

    @property
    def todo(self) -> Todo:
        """What is left to do."""
        return self.production.todo


@contextlib.contextmanager
def open_run(config: RunConfig, options: RunOptions) -> Iterator[OpenRun]:
    """Do everything that comes before the first request; hold the folder's lock meanwhile."""
    located = locate(config, options.where, datetime.now(UTC))
    folder = located.folder
    from_stdin = config.dataset.path == "-"
    # A new folder is made only when the dataset and the config hold, so that a mistake leaves nothing behind.
    early = prepare_and_scan(config) if located.manifest is None and not from_stdin else None
    for path in (folder.root, folder.staging, folder.journal, folder.commits):
        create_folder(path)
    for table in (*TABLES, SUPERSEDED):
        create_folder(folder.table(table))
    with hold_lock(folder):
        if early is None:
            spooled = _spool(folder, options) if from_stdin else None
            kept = kept_adapter(located.manifest) if options.reuse_input and located.manifest else None
            early = prepare_and_scan(config, spooled, folder, kept)
        prepared, scan, scan_plan = early
        save_scan(folder, scan_plan, scan)
        scan, early = without_ids(scan), None  # nothing may keep the ids' checksums for the length of the run
        with EventLog(folder.log, prepared.redactor, options.debug) as events:
            opened = _open(prepared, scan, located, events, options)
            yield opened


def _open(prepared: Prepared, scan: Scan, located: Located, events: EventLog, options: RunOptions) -> OpenRun:
    folder, manifest = located.folder, _manifest_of(prepared, scan, located, options)
    manifest.adapter = dict(prepared.adapter.spec) if prepared.adapter else {}
    note_price(manifest, prepared.listed)
    sealing = with_scoring(sealing_of(folder, manifest, prepared.config), manifest, prepared.config)
    log = read_commits(folder)
    if log.last is None:
        create_tables(sealing, log)
    crash_point("run:after-tables")
    owed = recover(sealing, log)
    if owed:
        options.say(f"{owed} requests were under way when an earlier session died; they may have been billed")
    again = find_again(scan.index, log, prepared.plan.repeats, options.only) if options.only else None
    production = production_of(prepared, scan, log, again)
    refuse_unrenderable(production)
    manifest.dataset = {
        "files": [path.name for path in prepared.paths],
        "samples": scan.samples,
        "bad_rows": scan.bad_rows,
        "fingerprint": scan.fingerprint,
    }
    check = recent_check(prepared.config, datetime.now(UTC))
    if check is not None:
        manifest.capabilities["check"] = check
    for doubt in (doubts := doubts_of(prepared, check)):
        options.say(doubt)
    for reminder in reminders(manifest.sessions[-1].steered, prepared.config.limits) if manifest.sessions else ():
        options.say(reminder)
    manifest.sessions.append(_new_session(len(manifest.sessions) + 1, options.only))
    manifest.status = RUNNING
    write_manifest(folder, manifest)
    crash_point("run:after-manifest")
    sealing = ensure_scoring(sealing, manifest, prepared.config, log)
    if again is None:
        retract_failures(sealing, log)
    elif not again.by_status:
        options.say(f"no row has the status {' or '.join(options.only)}: nothing is sent")
    for warning in prepared.warnings:
        options.say(f"warning: {warning}")
    if located.continued and not options.reuse_input:
        options.say(located.continued)
    events.write("session started", {"session": manifest.sessions[-1].number, "left": production.todo.cases})
    omissions = watch_for(prepared.config, prepared.plan.endpoint, asks=prepared.asks_for_logprobs)
    adapting = adapting_for(prepared, manifest.capabilities)
    opened = OpenRun(prepared, folder, manifest, log, sealing, scan, production, events, options)
    opened.omissions, opened.adapting, opened.doubts, opened.again = omissions, adapting, doubts, again
    return opened


def _manifest_of(prepared: Prepared, scan: Scan, located: Located, options: RunOptions) -> Manifest:
    """Return the manifest of a new run, or that of the run in the folder with the config as it is now."""
    folder = located.folder
    if not folder.manifest.exists():
        return _new_manifest(prepared, scan, located.run_id)
    # Read under the lock: another process may have begun this run since the folder was chosen.
    manifest = read_manifest(folder)
    refuse_other(folder, manifest, prepared.config)
    manifest.config = to_dict(prepared.config)
    manifest.config_digest = digest_of(manifest.config).hex()
    _check_columns(manifest, scan, options)
    return manifest


def sealing_of(folder: RunFolder, manifest: Manifest, config: RunConfig) -> Sealing:
    """Return what sealing a run needs to know."""
    endpoint = kept_endpoint(manifest, config)
    context = RowContext(
        endpoint=endpoint,
        model=config.model.name or "",
        price=kept_price(manifest, config),
        columns=manifest.columns,
        keep_raw=config.output.keep_raw,
        dimension=Dimension(folder) if endpoint.name == "embeddings" else None,
    )
    metadata = {"run_id": manifest.run_id, "config_digest": manifest.config_digest}
    return Sealing(folder, context, metadata)


def _new_manifest(prepared: Prepared, scan: Scan, run_id: str) -> Manifest:
    config = to_dict(prepared.config)
    return Manifest(
        run_id=run_id,
        name=prepared.config.name,
        created_at=utc_now(),
        identity=identity_of(prepared.config),
        config=config,
        config_digest=digest_of(config).hex(),
        dataset={},
        columns=dict(scan.columns),
    )


def _new_session(number: int, only: tuple[str, ...]) -> Session:
    names = ("aiohttp", "anyio", "orjson", "pyarrow")
    versions = {"evalrunner": version("evalrunner"), "python": platform.python_version()}
    versions |= {name: version(name) for name in names}
    return Session(number, utc_now(), os.getpid(), socket.gethostname(), versions, only=list(only))


def _check_columns(manifest: Manifest, scan: Scan, options: RunOptions) -> None:
    for name, kind in scan.columns.items():
        fixed = manifest.columns.get(name)
        if fixed is None:
            options.say(
                f"column '{name}' is new in the dataset: this run's output does not have it (--new begins another)"
            )
        elif fixed != kind:
            options.say(f"column '{name}' is {kind} now; this run keeps {fixed}, and a value that does not fit is null")


def _spool(folder: RunFolder, options: RunOptions) -> Path:
    """Return the file that holds standard input: what an earlier session spooled, or what comes in now."""
    create_folder(folder.spool)
    spooled = sorted(folder.spool.glob("stdin.*"))
    if options.reuse_input and spooled:
        return spooled[0]
    return spool_stdin(sys.stdin.buffer, folder.spool)


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def open_existing(root: Path) -> tuple[RunFolder, Manifest]:
    """Return folder and manifest of an existing run. Raises RunFolderError."""
    folder = RunFolder(root)
    manifest = read_manifest(folder)
    if not folder.commits.is_dir():
        raise RunFolderError(f"{root}: the run has no _commits folder", hint="was it copied incompletely?")
    return folder, manifest
