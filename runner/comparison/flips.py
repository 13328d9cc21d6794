"""Owns flips: the pairs whose score differs, worst first, with the texts of both runs read in a second pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from runner.comparison.model import Flip
from runner.sinks import rows_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from runner.comparison.pairing import Pairs
    from runner.comparison.reading import Source
    from runner.comparison.scores import ScorePairs

_MOST_CHARACTERS = 2_000
_COLUMNS = ("sample_id", "repeat", "choice", "status", "text", "refusal", "tool_calls", "error_message", "target")


def find_flips(
    scores: Mapping[str, tuple[ScorePairs, bool]], pairs: Pairs, base: Source, run: Source, most: int
) -> list[Flip]:
    """Return up to `most` flips, shared evenly between the scores: what was lost first, the largest differences first.

    `scores` are the pairs of each score, and whether lower is better. Raises DamagedError.
    """
    chosen: list[tuple[str, ScorePairs, int]] = []
    own = {name: _worst_first(values, lower=lower, most=most) for name, (values, lower) in scores.items()}
    flipped = [name for name, places in own.items() if len(places)]
    for name in flipped:
        chosen += [(name, scores[name][0], place) for place in own[name][: max(1, most // len(flipped))].tolist()]
    chosen = chosen[:most]
    numbers = [int(values.which[place]) for _, values, place in chosen]
    before = _rows(base, [int(pairs.base_at[number]) for number in numbers])
    after = _rows(run, [int(pairs.run_at[number]) for number in numbers])
    return [
        _flip(
            name,
            (float(values.base[place]), float(values.run[place])),
            before[int(pairs.base_at[number])],
            after[int(pairs.run_at[number])],
            by_means=pairs.by_means,
        )
        for (name, values, place), number in zip(chosen, numbers, strict=True)
    ]


def _worst_first(values: ScorePairs, *, lower: bool, most: int) -> NDArray[np.int64]:
    """Return places of flips: losses by size, then gains by size; no more than `most`."""
    gain = (values.base - values.run) if lower else (values.run - values.base)
    changed = np.flatnonzero(gain)
    # Losses sort by how far below 0 they are; gains come behind all of them, the largest first.
    rank = np.where(gain[changed] < 0, gain[changed], np.inf)
    order = np.lexsort((-np.abs(gain[changed]), rank))[:most]
    return changed[order]


def _rows(source: Source, wanted: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return some rows of a run by their number over all parts."""
    found: dict[int, dict[str, Any]] = {}
    first = 0
    for part in source.log.parts("responses"):
        own = sorted({row - first for row in wanted if first <= row < first + part.rows})
        if own:
            path = source.folder.table("responses") / part.name
            for place, values in zip(own, rows_at(path, own, _COLUMNS), strict=True):
                found[first + place] = dict(zip(_COLUMNS, values, strict=True))
        first += part.rows
    return found


def _flip(
    score: str, values: tuple[float, float], base: Mapping[str, Any], run: Mapping[str, Any], *, by_means: bool
) -> Flip:
    return Flip(
        score=score,
        sample_id=base["sample_id"],
        repeat=None if by_means else base["repeat"],
        choice=None if by_means else base["choice"],
        base_value=values[0],
        run_value=values[1],
        base_text=_text(base),
        run_text=_text(run),
        base_status=base["status"],
        run_status=run["status"],
        target=_cut(base["target"]),
    )


def _text(row: Mapping[str, Any]) -> str | None:
    """Return what a row answered, or what stands in place of an answer."""
    return _cut(next((row[name] for name in ("text", "refusal", "tool_calls", "error_message") if row[name]), None))


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
