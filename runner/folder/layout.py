"""Owns the names of everything inside a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TABLES = ("responses", "attempts", "raw")
SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run. Nothing but finished Parquet ever lies in a table's folder."""

    root: Path

    @property
    def manifest(self) -> Path:
        """Config, fingerprints, sessions, status and summary."""
        return self.root / "manifest.json"

    @property
    def journal(self) -> Path:
        """Segments that are not sealed yet."""
        return self.root / "_journal"

    @property
    def commits(self) -> Path:
        """Numbered commit files, and one index for each part of `responses`."""
        return self.root / "_commits"

    @property
    def staging(self) -> Path:
        """Files being written; whatever no commit names is rubbish."""
        return self.root / "_tmp"

    @property
    def spool(self) -> Path:
        """A dataset that came by standard input."""
        return self.root / "_input"

    @property
    def scan(self) -> Path:
        """What the first pass over the dataset found, remembered; nothing is lost with it."""
        return self.root / "_scan"

    @property
    def lock(self) -> Path:
        """Held by flock for the life of the process that writes."""
        return self.root / "LOCK"

    @property
    def control(self) -> Path:
        """The unix socket on which a running session takes commands; it is there as long as the session."""
        return self.root / "control.sock"

    @property
    def log(self) -> Path:
        """Redacted events, one JSON object a line; not a source of truth."""
        return self.root / "run.log.jsonl"

    def table(self, name: str) -> Path:
        """Return the folder of one table."""
        return self.root / name

    def segment(self, number: int) -> Path:
        """Return the path of one journal segment."""
        return self.journal / f"{number:06d}.journal"

    def commit(self, number: int) -> Path:
        """Return the path of one commit file."""
        return self.commits / f"{number:06d}.json"


def scores_table(scoring_id: str) -> str:
    """Return the name of the table that holds the scores of one scoring."""
    return f"scores/{scoring_id}"


def part_name(number: int) -> str:
    """Return the file name of part `number`, the same in every table."""
    return f"part-{number:06d}.parquet"


def index_name(part: str) -> str:
    """Return the file name of the index that belongs to a part of `responses`."""
    return part.replace(".parquet", ".index.npy")
