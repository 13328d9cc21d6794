"""Owns what all that comes to rest needs to know of its run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.folder.layout import RunFolder
    from runner.pipeline.scores.scoring import Scoring
    from runner.pipeline.storing.reading import RowContext


@dataclass(frozen=True, slots=True)
class Sealing:
    """What sealing needs to know of a run. `metadata` goes into every Parquet file.

    With `scoring`, each part of `responses` gets its scores in the same commit.
    """

    folder: RunFolder
    context: RowContext
    metadata: Mapping[str, str]
    scoring: Scoring | None = None
