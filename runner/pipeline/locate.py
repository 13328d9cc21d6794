"""Owns which folder a run goes to: the identity of a run, and finding, continuing or beginning one."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config import to_dict
from runner.digest import digest_of
from runner.errors import RunFolderError, UsageError
from runner.folder.layout import SUPERSEDED, TABLES, RunFolder
from runner.folder.lock import is_locked
from runner.folder.manifest import COMPLETE, INTERRUPTED, RUNNING, read_manifest
from runner.folder.runs import folders_below, runs_below

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config import RunConfig
    from runner.folder.manifest import Manifest

_CONTINUED_FOR = timedelta(hours=24)
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
# What may differ between sessions of one run: how fast and how long, not what is asked.
_NOT_IDENTITY = ("timeout_s", "stream", "batch_size")


@dataclass(frozen=True, slots=True)
class Where:
    """How the caller wants the folder chosen; at most one of the first three is set.

    `existing`: it has to be that of a run, finished or not, of any age.
    """

    run_dir: Path | None = None
    run_id: str | None = None
    new: bool = False
    existing: bool = False


@dataclass(frozen=True, slots=True)
class Located:
    """The folder of a run; `manifest` is null for a new one, `continued` says why an old one was taken."""

    folder: RunFolder
    run_id: str
    manifest: Manifest | None
    continued: str | None = None


def identity_of(config: RunConfig) -> dict[str, Any]:
    """Return what makes a run the same run, by dotted config key. The dataset's content is not in it."""
    data = to_dict(config)
    dataset, model, request = data["dataset"], data["model"], data["request"]
    server = model["base_url"]
    servers = sorted(one["url"] for one in server) if isinstance(server, list) else server
    identity = {f"dataset.{key}": dataset[key] for key in ("path", "id", "limit", "shuffle_seed")}
    identity |= {"model.name": model["name"], "model.base_url": servers, "model.embedded": model["embedded"]}
    identity |= {f"request.{key}": value for key, value in request.items() if key not in _NOT_IDENTITY}
    return identity


def locate(config: RunConfig, where: Where, now: datetime) -> Located:
    """Choose the run folder. Raises RunFolderError where the named one is of another run, UsageError for a bad name."""
    located = _choose(config, where, now)
    if where.existing and located.manifest is None:
        root = located.folder.root
        named = where.run_dir or where.run_id
        raise RunFolderError(
            f"{root}: there is no run in it" if named else f"{root.parent}: no run of this config is in it",
            hint="without --only a run begins",
        )
    return located


def _choose(config: RunConfig, where: Where, now: datetime) -> Located:
    identity = identity_of(config)
    if where.run_dir is not None:
        return _named(where.run_dir.absolute(), where.run_dir.name, config)
    runs = Path(config.output.dir) / config.name
    if where.run_id is not None:
        if not _SLUG.match(where.run_id) or ".." in where.run_id:
            raise UsageError(f"--run-id {where.run_id!r:.60}: letters, digits, '.', '_' and '-' only, 100 at most")
        return _named(runs / where.run_id, where.run_id, config)
    if not where.new:
        for found in _newest_first(runs):
            manifest = found.manifest
            if manifest is None or manifest.identity != identity:
                continue
            if where.existing:
                return Located(found.folder, found.run_id, manifest, f"continuing {found.folder.root}, the newest run")
            if status_of(found) != COMPLETE and _is_recent(manifest, now):
                reason = (
                    f"continuing {found.folder.root}, unfinished since {manifest.created_at} (--new begins another)"
                )
                return Located(found.folder, found.run_id, manifest, reason)
    run_id = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    return Located(RunFolder(runs / run_id), run_id, None)


def refuse_other(folder: RunFolder, manifest: Manifest, config: RunConfig) -> None:
    """Raise RunFolderError where a folder holds another run than the config describes."""
    identity = identity_of(config)
    if manifest.identity != identity:
        raise RunFolderError(
            f"{folder.root}: holds another run than this config describes:\n{_difference(manifest.identity, identity)}",
            hint="use another --run-dir, or no --run-dir to begin a new run",
        )


def list_runs(outputs: Path) -> list[Located]:
    """Return all runs below a folder (outputs, or one name's folder), newest first."""
    return sorted(
        (*_newest_first(outputs), *(run for name in folders_below(outputs) for run in _newest_first(name))),
        key=lambda run: run.manifest.created_at if run.manifest else "",
        reverse=True,
    )


def status_of(located: Located) -> str:
    """Return a run's status; running with a free lock is interrupted."""
    manifest = located.manifest
    if manifest is None:
        return "new"
    if manifest.status == RUNNING and not is_locked(located.folder):
        return INTERRUPTED
    return manifest.status


def _named(root: Path, run_id: str, config: RunConfig) -> Located:
    folder = RunFolder(root)
    if not folder.manifest.exists():
        if root.exists() and (not root.is_dir() or any(_foreign(root))):
            raise RunFolderError(
                f"{root}: exists and is not a run folder", hint="choose a folder that is new or empty, or a run's own"
            )
        return Located(folder, run_id if _SLUG.match(run_id) else "run", None)
    manifest = read_manifest(folder)
    refuse_other(folder, manifest, config)
    return Located(folder, manifest.run_id, manifest, f"continuing {root}")


def _foreign(root: Path) -> Iterator[Path]:
    """Yield what does not stem from a run that was killed before it had a manifest."""
    folders = {"_journal", "_commits", "_tmp", "_input", "_scan", *TABLES, SUPERSEDED}
    own = {*folders, "LOCK", "manifest.json", "run.log.jsonl", "server.log", "control.sock"}
    return (path for path in root.iterdir() if path.name not in own)


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    return "\n".join(
        f"  {key}: the run has {_short(old.get(key))}, the config says {_short(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:180]}… ({digest_of(value).hex()[:8]})"  # noqa: PLR2004 - a line


def _newest_first(runs: Path) -> list[Located]:
    return [Located(folder, manifest.run_id, manifest) for folder, manifest in runs_below(runs)]


def _is_recent(manifest: Manifest, now: datetime) -> bool:
    try:
        created = datetime.fromisoformat(manifest.created_at)
    except ValueError:
        return False
    return now - (created if created.tzinfo else created.replace(tzinfo=UTC)) <= _CONTINUED_FOR
