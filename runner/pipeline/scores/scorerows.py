"""Owns the columns of rows that a scoring is summed up from, a batch after the other: a few numbers for each row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner.sinks import column_orders

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(slots=True)
class ScoreRows:
    """Columns of rows of a run, growing. `orders` numbers repeat and choice, `values` are by score.

    What few runs need stays empty where it is not asked for: hashes of `samples`, `votes` by score (of scores whose
    rows may vote), and `groups`, whose `names` say which number is which.
    """

    statuses: list[NDArray[np.int8]] = field(default_factory=list)
    orders: list[NDArray[np.int64]] = field(default_factory=list)
    values: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    samples: list[NDArray[np.int64]] = field(default_factory=list)
    votes: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    groups: list[NDArray[np.int64]] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)

    @property
    def repeated(self) -> bool:
        """Whether any sample may have several rows."""
        return any(orders.any() for orders in self.orders)

    def add(self, batch: Any, statuses: NDArray[np.int8]) -> None:
        """Take rows in; `batch` has `repeat` and `choice`."""
        self.statuses.append(statuses)
        self.orders.append(column_orders(batch))

    def add_values(self, values: Mapping[str, NDArray[np.float64]]) -> None:
        """Take the scores of rows in, NaN for none."""
        for name, scores in values.items():
            self.values.setdefault(name, []).append(scores)
