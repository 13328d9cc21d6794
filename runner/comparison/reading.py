"""Owns reading a run for comparison: a few numbers for each row, in arrays that are made at once, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.errors import RunFolderError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder, scores_table
from runner.folder.manifest import read_manifest
from runner.sinks import column_hashes, column_numbers, column_statuses, read_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from runner.folder.commits import CommitLog
    from runner.folder.manifest import Manifest

_PLACE = ("sample_id", "repeat", "choice")
MEASURED = ("latency_s", "first_token_s", "prompt_tokens", "completion_tokens", "cost_usd")


@dataclass(frozen=True, slots=True)
class Source:
    """A run that is read: its folder, manifest and commits."""

    folder: RunFolder
    manifest: Manifest
    log: CommitLog


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of all rows of a run. `samples`, `places` and `contents` are hashes, those of this process.

    `places` are of sample, repeat and choice. Values that are null are NaN.
    """

    samples: NDArray[np.int64]
    places: NDArray[np.int64]
    contents: NDArray[np.int64]
    repeats: NDArray[np.int32]
    choices: NDArray[np.int32]
    statuses: NDArray[np.int8]
    measured: dict[str, NDArray[np.float32]]
    scores: dict[str, NDArray[np.float64]]


def open_source(run_dir: Path) -> Source:
    """Read what a run is. Raises RunFolderError, DamagedError."""
    folder = RunFolder(run_dir)
    return Source(folder, read_manifest(folder), read_commits(folder))


def read_rows(source: Source, content: Sequence[str], scores: Sequence[str]) -> Rows:
    """Read all rows of a run; `content` names the columns that say what a sample is.

    Raises DamagedError, and RunFolderError for a run whose parts are replaced meanwhile.
    """
    parts = source.log.parts("responses")
    rows = _empty(sum(part.rows for part in parts), scores)
    first = 0
    for part in parts:
        at = first
        for batch in read_columns(
            source.folder.table("responses") / part.name, [*_PLACE, "status", *MEASURED, *content]
        ):
            _put(rows, slice(at, at + batch.num_rows), batch, content)
            at += batch.num_rows
        _check(source, part.name, at - first, part.rows)
        _put_scores(source, rows, part.name, first)
        first = at
    return rows


def _empty(count: int, scores: Sequence[str]) -> Rows:
    return Rows(
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=np.int32),
        np.zeros(count, dtype=np.int32),
        np.zeros(count, dtype=np.int8),
        {name: np.empty(count, dtype=np.float32) for name in MEASURED},
        {name: np.full(count, np.nan) for name in scores},
    )


def _put(rows: Rows, where: slice, batch: Any, content: Sequence[str]) -> None:
    if where.stop > len(rows.samples):
        return  # another part than the commit names: `_check` says so
    rows.samples[where] = column_hashes(batch, ["sample_id"])
    rows.places[where] = column_hashes(batch, _PLACE)
    if content:
        rows.contents[where] = column_hashes(batch, content)
    rows.repeats[where] = column_numbers(batch, "repeat")
    rows.choices[where] = column_numbers(batch, "choice")
    rows.statuses[where] = column_statuses(batch)
    for name in MEASURED:
        rows.measured[name][where] = column_numbers(batch, name)


def _put_scores(source: Source, rows: Rows, part: str, first: int) -> None:
    if not rows.scores:
        return
    path = source.folder.table(scores_table(source.manifest.scoring)) / part
    at = first
    for batch in _score_batches(path, rows.scores):
        for name, values in rows.scores.items():
            values[at : at + batch.num_rows] = column_numbers(batch, f"score_{name}")
        at += batch.num_rows


def _score_batches(path: Path, scores: dict[str, Any]) -> Iterator[Any]:
    return read_columns(path, [f"score_{name}" for name in scores])


def _check(source: Source, part: str, found: int, expected: int) -> None:
    if found != expected:
        raise RunFolderError(
            f"{source.folder.table('responses') / part}: was replaced while it was read",
            hint="the run goes on; compare again",
        )
