"""Owns which rows a report shows: all of them, or a sample that is the same each time and leaves no trouble out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

MOST_ROWS: Final = 2_000
# Of a sample no more than these are rows that went wrong, extremes of scores, and the slowest.
_MOST_TROUBLE: Final = 800
_MOST_EXTREMES: Final = 400
_MOST_SLOW: Final = 50
_OF_A_KIND: Final = 400


@dataclass(slots=True)
class Lowest:
    """The rows with the lowest values, of equal ones those with the lowest hash of their key: so chance is fixed.

    `places` are numbers of rows in the order of the parts.
    """

    most: int
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    hashes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    places: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def add(self, values: NDArray[np.float64], hashes: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        """Consider further rows; those whose value is NaN are left out."""
        worst = self.values[-1] if len(self.values) == self.most else np.inf
        able = values <= worst
        if not able.any():
            return
        values = np.concatenate([self.values, values[able]])
        hashes = np.concatenate([self.hashes, hashes[able]])
        places = np.concatenate([self.places, places[able]])
        order = np.lexsort((places, hashes, values))[: self.most]
        self.values, self.hashes, self.places = values[order], hashes[order], places[order]


@dataclass(slots=True)
class Candidates:
    """The rows that could be shown, as far as they were seen; bounded by the number of kinds of trouble and scores."""

    scores: Sequence[str]
    seen: int = 0
    anything: Lowest = field(default_factory=lambda: Lowest(MOST_ROWS))
    slow: Lowest = field(default_factory=lambda: Lowest(_MOST_SLOW))
    trouble: dict[str, Lowest] = field(default_factory=dict)
    extremes: dict[tuple[str, int], Lowest] = field(default_factory=dict)

    def add(
        self,
        hashes: NDArray[np.int64],
        troubles: Sequence[str | None],
        latencies_s: NDArray[np.float64],
        scores: Sequence[NDArray[np.float64]],
    ) -> None:
        """Consider the next rows, in their order. `troubles` names what was wrong with a row, null for nothing."""
        places = np.arange(self.seen, self.seen + len(hashes))
        self.seen += len(hashes)
        even = np.zeros(len(hashes))
        self.anything.add(even, hashes, places)
        self.slow.add(-latencies_s, hashes, places)
        for name, values in zip(self.scores, scores, strict=True):
            for sign in (1, -1):
                self.extremes.setdefault((name, sign), Lowest(_OF_A_KIND)).add(sign * values, hashes, places)
        for kind in {kind for kind in troubles if kind is not None}:
            chosen = np.array([one == kind for one in troubles])
            held = self.trouble.setdefault(kind, Lowest(_OF_A_KIND))
            held.add(even[chosen], hashes[chosen], places[chosen])

    def choose(self) -> list[int]:
        """Return the rows to show, what matters most first: trouble, extremes of scores, the slowest, any others."""
        chosen: dict[int, None] = {}
        everything = self.seen <= MOST_ROWS
        troubles = [self.trouble[kind].places.tolist() for kind in sorted(self.trouble)]
        extremes = [self.extremes[key].places.tolist() for key in sorted(self.extremes)]
        _take(chosen, _in_turn(troubles), MOST_ROWS if everything else _MOST_TROUBLE)
        _take(chosen, _in_turn(extremes), len(chosen) + _MOST_EXTREMES)
        _take(chosen, self.slow.places.tolist(), len(chosen) + _MOST_SLOW)
        _take(chosen, self.anything.places.tolist(), MOST_ROWS)
        return list(chosen)


def key_hashes(keys: Iterable[str], count: int) -> NDArray[np.int64]:
    """Return a number for each key: a key is a hash in hex, so its first digits are as good as chance."""
    return np.fromiter((int(key[:15], 16) for key in keys), np.int64, count)


def _take(chosen: dict[int, None], places: Iterable[int], most: int) -> None:
    for place in places:
        if len(chosen) >= most:
            return
        chosen.setdefault(place)


def _in_turn(lists: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield the first of each list, then the second of each, and so on."""
    for places in zip_longest(*lists):
        yield from (place for place in places if place is not None)
