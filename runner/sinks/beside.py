"""Owns putting the scores of a part beside its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What is unique in `responses`, and stands in every scoring.
PLACE: Final = ("key", "choice")


def scores_beside(rows: pa.Table, scores: pa.Table, chosen: NDArray[np.bool_] | slice | None = None) -> pa.Table:
    """Return the scores of some rows of a part, in their order; both tables have `key` and `choice`.

    `chosen` says which of the part's rows these are, null: all. A part and its scores are written with the same rows in
    the same order. Where they are not, as in a folder that was copied while a session was at work, rows are found by
    key, and those without a score get nulls.
    """
    aligned = scores
    if isinstance(chosen, slice):
        aligned = scores.slice(chosen.start, chosen.stop - chosen.start)
    elif chosen is not None and len(chosen) == scores.num_rows:
        aligned = scores.filter(chosen)
    if all(aligned[name].equals(rows[name]) for name in PLACE):
        return aligned
    found = {place: row for row, place in enumerate(_places(scores))}
    return scores.take(pa.array([found.get(place) for place in _places(rows)], pa.int64()))


def _places(table: pa.Table) -> list[tuple[str, int]]:
    return list(zip(*(table[name].to_pylist() for name in PLACE), strict=True))
