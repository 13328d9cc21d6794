"""Owns manifest.json: what a run is, its sessions, its status and its summary. Never a secret."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from runner.durable import write_atomically
from runner.errors import RunFolderError

if TYPE_CHECKING:
    from runner.folder.layout import RunFolder

FORMAT = 1
RUNNING, COMPLETE, STOPPED, INCOMPLETE, INTERRUPTED = "running", "complete", "stopped", "incomplete", "interrupted"


@dataclass(slots=True)
class Session:
    """One process's work on a run. Times are ISO 8601 in UTC; `ended_at` is null while it runs, or if it was killed.

    `only` names the statuses of the rows that it sent again, where it sent nothing else.
    `steered` holds what was asked of it while it ran: pauses, and limits that were changed.
    """

    number: int
    started_at: str
    pid: int
    host: str
    versions: dict[str, str]
    ended_at: str | None = None
    status: str = RUNNING
    exit_code: int | None = None
    message: str | None = None
    wall_s: float = 0.0
    only: list[str] = field(default_factory=list)
    steered: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Manifest:
    """The content of manifest.json.

    `identity` names what makes a run the same run; `columns` maps the kept dataset columns to their kinds, fixed when
    the run was created. `adapter` is the content of its adapter file, empty for the built-in format. `scoring` is the
    id of the scores that count, empty where nothing is scored.
    """

    run_id: str
    name: str
    created_at: str
    identity: dict[str, Any]
    config: dict[str, Any]
    config_digest: str
    dataset: dict[str, Any]
    columns: dict[str, str]
    status: str = RUNNING
    format: int = FORMAT
    adapter: dict[str, Any] = field(default_factory=dict)
    scoring: str = ""
    capabilities: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


def write_manifest(folder: RunFolder, manifest: Manifest) -> None:
    """Replace manifest.json in one step. Raises StorageError."""
    # Keys keep their order: that of `columns` is the order of the output's columns.
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_atomically(folder.manifest, orjson.dumps(asdict(manifest), option=options), staging=folder.staging)


def read_manifest(folder: RunFolder) -> Manifest:
    """Read manifest.json. Raises RunFolderError when the folder is no run, or is of a later version."""
    try:
        data = orjson.loads(folder.manifest.read_bytes())
        if data["format"] > FORMAT:
            raise RunFolderError(
                f"{folder.manifest}: written by a later version of evalrunner (format {data['format']})",
                hint="upgrade evalrunner",
            )
        sessions = [Session(**session) for session in data.pop("sessions")]
        return Manifest(**data, sessions=sessions)
    except FileNotFoundError:
        raise RunFolderError(
            f"{folder.root}: this is not a run folder (it has no manifest.json)",
            hint="`evalrunner status` lists the runs under outputs/",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{folder.manifest}: the manifest cannot be read ({error})") from error
