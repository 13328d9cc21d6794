"""Owns flips: the pairs whose score differs, worst first, with the texts of both runs read in a second pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.comparison.model import Flip
from runner.sinks import response_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.comparison.pairing import Pairs
    from runner.comparison.reading import Source
    from runner.comparison.scores import Scored, ScorePairs

_MOST_CHARACTERS = 2_000
_COLUMNS = ("sample_id", "repeat", "choice", "status", "text", "refusal", "tool_calls", "error_message", "target")


@dataclass(frozen=True, slots=True)
class Changed:
    """A pair whose score changed: the pair's number, and both values."""

    score: str
    pair: int
    base_value: float
    run_value: float


def worst_first(score: Scored, values: ScorePairs, most: int) -> list[Changed]:
    """Return flips of one score: losses by size, then gains by size, equal ones as they stand; at most so many."""
    gain = values.base - values.run if score.kind.lower_is_better else values.run - values.base
    changed = np.flatnonzero(gain)
    # Losses sort by how far below 0 they are; gains come behind all of them, the largest first.
    rank = np.where(gain[changed] < 0, gain[changed], np.inf)
    places = changed[np.lexsort((-np.abs(gain[changed]), rank))[:most]]
    columns = (column[places].tolist() for column in (values.which, values.base, values.run))
    return [Changed(score.name, *one) for one in zip(*columns, strict=True)]


def shared_evenly(changed: Mapping[str, Sequence[Changed]], most: int) -> list[Changed]:
    """Return at most so many flips of all scores, as many of each that has any."""
    flipped = [own for own in changed.values() if own]
    each = max(1, most // max(1, len(flipped)))
    return [one for own in flipped for one in own[:each]][:most]


def read_flips(changed: Sequence[Changed], pairs: Pairs, base: Source, run: Source) -> list[Flip]:
    """Read what both runs answered. Raises DamagedError, BusyError."""
    numbers = np.array([one.pair for one in changed], dtype=np.int64)
    base_places, run_places = pairs.base.first_rows(numbers).tolist(), pairs.run.first_rows(numbers).tolist()
    before = response_rows(base.snapshot, base_places, _COLUMNS)
    after = response_rows(run.snapshot, run_places, _COLUMNS)
    return [
        _flip(one, before[base_place], after[run_place], by_means=pairs.by_means)
        for one, base_place, run_place in zip(changed, base_places, run_places, strict=True)
    ]


def _flip(changed: Changed, base: Mapping[str, Any], run: Mapping[str, Any], *, by_means: bool) -> Flip:
    return Flip(
        score=changed.score,
        sample_id=base["sample_id"],
        repeat=None if by_means else base["repeat"],
        choice=None if by_means else base["choice"],
        base_value=changed.base_value,
        run_value=changed.run_value,
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
