"""Owns opening the runs that are read together: which folders are runs, what they are called, what to say of others."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from runner.errors import RunFolderError, UsageError
from runner.folder.layout import RunFolder
from runner.sinks import MOST_OPEN, SCORES, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from runner.sinks import Snapshot

RunDirs: TypeAlias = "str | Path | Sequence[str | Path]"
# The column that tells several runs apart.
RUN = "run"
_RUN_ID = b"evalrunner.run_id"
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Run:
    """One run, opened, with the columns of its responses and scores; `run_id` stands in the metadata of its parts."""

    snapshot: Snapshot
    run_id: str
    responses: pa.Schema
    scores: pa.Schema


def folders_of(run_dirs: RunDirs) -> tuple[list[RunFolder], bool]:
    """Return the run folders, and whether several were asked for: a list of one counts as several."""
    if isinstance(run_dirs, (str, Path)):
        return [RunFolder(Path(run_dirs))], False
    if not run_dirs:
        raise UsageError("no run was given", hint="name a run folder, or a list of them")
    return [RunFolder(Path(run_dir)) for run_dir in run_dirs], True


@contextmanager
def opened(folders: Sequence[RunFolder], tables: Sequence[str]) -> Iterator[list[Run]]:
    """Open runs at one instant each, and close them. Raises RunFolderError for a folder that is no run."""
    runs: list[Run] = []
    try:
        # Those before one that cannot be opened are in the list, and are closed.
        runs.extend(open_run(folder, tables, most_open=MOST_OPEN // len(folders)) for folder in folders)
        check_names(runs)
        yield runs
    finally:
        for run in runs:
            run.snapshot.__exit__(None, None, None)


def open_run(folder: RunFolder, tables: Sequence[str], *, most_open: int) -> Run:
    """Open some tables of one run, at most so many parts. Raises RunFolderError for a folder that is no run."""
    snapshot = take_snapshot(folder, ("responses", *tables), most_open=most_open)
    if not snapshot.tables["responses"]:
        raise _no_run(folder)
    schema = snapshot.schema("responses")
    run_id = (schema.metadata or {}).get(_RUN_ID, folder.root.name.encode()).decode(errors="replace")
    return Run(snapshot, run_id, schema, snapshot.schema(SCORES))


def check_names(runs: Sequence[Run]) -> None:
    """Refuse a run that is given twice: its rows could not be told apart. Raises RunFolderError."""
    seen: dict[str, Path] = {}
    for run in runs:
        root = run.snapshot.folder.root
        if run.run_id in seen:
            raise RunFolderError(
                f"{root}: holds the run {run.run_id}, as {seen[run.run_id]} does",
                hint="name each run once; of a run and its copy, load one",
            )
        seen[run.run_id] = root


def _no_run(folder: RunFolder) -> RunFolderError:
    root = folder.root
    inside = sorted((path.parent for path in root.glob("*/responses") if path.is_dir()), reverse=True)
    if inside:
        named = ", ".join(path.name for path in inside[:_MOST_NAMED])
        more = f" and {len(inside) - _MOST_NAMED} more" if len(inside) > _MOST_NAMED else ""
        return RunFolderError(
            f"{root}: no run to load here, but a folder of runs: {named}{more}",
            hint=f"name one of them ({inside[0]}), or give a list of several",
        )
    what = "responses/ holds no part" if root.is_dir() else "there is no such folder"
    hint = "`evalrunner status` lists the runs under outputs/"
    if any(sign in str(root) for sign in "*?["):
        hint = "a pattern is not expanded here; give a list: sorted(glob.glob(…))"
    return RunFolderError(f"{root}: no run to load here ({what})", hint=hint)
