"""Owns reading a run for comparison: what each row is, in 25 bytes, and then one column of numbers at a time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.comparison.pairing import Identities
from runner.errors import RunFolderError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from runner.records import STATUSES
from runner.scorers import ANSWERED_PLACES
from runner.sinks import (
    MOST_OPEN,
    SCORES,
    column_hashes,
    column_orders,
    column_statuses,
    joined_arrays,
    response_batches,
    response_numbers,
    score_numbers,
    take_snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from runner.folder.manifest import Manifest
    from runner.sinks import Snapshot

_SKIPPED = STATUSES.index("skipped")


@dataclass(frozen=True, slots=True)
class Source:
    """A run as one commit has left it, open for reading; what its accepted answers cost in USD, null if unknown."""

    folder: RunFolder
    manifest: Manifest
    snapshot: Snapshot
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a run: what each is and how it ended; further columns are read when they are wanted."""

    source: Source
    identities: Identities
    statuses: NDArray[np.int8]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which rows have an answer, a refusal too."""
        return np.isin(self.statuses, ANSWERED_PLACES)

    @property
    def first_choices(self) -> NDArray[np.bool_]:
        """Which rows are choice 0."""
        found: NDArray[np.bool_] = self.identities.orders % 2**31 == 0
        return found

    def usable(self) -> Identities:
        """Return the rows that may be in a pair: all but those of dataset rows that were skipped."""
        skipped = self.statuses == _SKIPPED
        return self.identities.at(np.flatnonzero(~skipped)) if skipped.any() else self.identities

    def measured(self, column: str) -> NDArray[np.float64]:
        """Read a column of numbers; NaN where it is null, and for rows without an answer. Raises DamagedError."""
        values = response_numbers(self.source.snapshot, column)
        values[~self.answered] = np.nan
        return values

    def scored(self, name: str) -> NDArray[np.float64]:
        """Read a score; NaN for rows without one. Raises DamagedError."""
        return score_numbers(self.source.snapshot, name)


@contextmanager
def open_source(run_dir: Path) -> Iterator[Source]:
    """Open a run, which may go on meanwhile. Raises RunFolderError, DamagedError, BusyError."""
    folder = RunFolder(run_dir)
    manifest = read_manifest(folder)
    # Two runs are open at once.
    with take_snapshot(folder, ("responses", SCORES), most_open=MOST_OPEN // 2) as snapshot:
        if not snapshot.tables["responses"]:
            raise RunFolderError(f"{run_dir}: the run has no table yet", hint="wait until its first request was sent")
        yield Source(folder, manifest, snapshot, read_commits(folder).totals.cost)


def read_rows(source: Source, content: Sequence[str]) -> Rows:
    """Read what all rows of a run are; `content` names the columns that say what a sample is. Raises DamagedError."""
    samples, contents, orders, statuses = [], [], [], []
    for batch in response_batches(source.snapshot, ["sample_id", "repeat", "choice", "status", *content]):
        samples.append(column_hashes(batch, ["sample_id"]))
        contents.append(column_hashes(batch, content) if content else np.zeros(batch.num_rows, dtype=np.int64))
        orders.append(column_orders(batch))
        statuses.append(column_statuses(batch))
    identities = Identities(*(_joined(pieces, np.int64) for pieces in (samples, contents, orders)))
    return Rows(source, identities, _joined(statuses, np.int8))


def _joined(pieces: list[Any], kind: Any) -> Any:
    """Return one array, and leave nothing of the pieces."""
    joined = joined_arrays(pieces, kind)
    pieces.clear()
    return joined
