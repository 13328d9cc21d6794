"""Owns scores of rows as tests look at them: one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from runner.records import Score
from runner.scorers import score_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.scorers import Scorer


def scores_of(scorer: Scorer, columns: Mapping[str, Sequence[Any]]) -> list[Score]:
    """Return the score of each row, null for none."""
    found = score_rows(scorer, columns)
    values = [None if math.isnan(value) else value for value in found.values.tolist()]
    return [Score(value, note) for value, note in zip(values, found.notes, strict=True)]
