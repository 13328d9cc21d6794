"""Owns what is left to do: dataset × repeats less what the parts' indexes hold, found by content in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from runner.folder.index import key_of, read_index
from runner.folder.layout import index_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from runner.folder.commits import CommitLog
    from runner.pipeline.passes.rowindex import RowIndex


@dataclass(slots=True)
class Todo:
    """`done[row, repeat]` by row number; `known_keys` the sorted upper halves of all keys in committed parts.

    `relinked` collects rows whose content changed but whose request is the same, by key: they are done, and the part
    that holds them learns their new digest at the end of the session. `partial` holds, by key, the choices that are
    there of cases whose choices are asked for one by one and are not all there.
    """

    done: NDArray[np.bool_]
    wanted: NDArray[np.bool_]
    known_keys: NDArray[np.uint64]
    relinked: dict[bytes, int] = field(default_factory=dict)
    partial: dict[bytes, set[int]] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        """Count the cases that are left."""
        return int((~self.done[self.wanted]).sum())

    def is_known(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Say of each key whether a committed part holds it."""
        if not len(self.known_keys):
            return np.zeros(len(keys), dtype=bool)
        high = np.array([int.from_bytes(key[:8], "big") for key in keys], dtype=np.uint64)
        at = np.minimum(np.searchsorted(self.known_keys, high), len(self.known_keys) - 1)
        known: NDArray[np.bool_] = self.known_keys[at] == high
        return known


def part_indexes(log: CommitLog) -> Iterator[tuple[str, NDArray[np.void]]]:
    """Yield name and index of each part of `responses` that has rows. Raises DamagedError."""
    for part in log.parts("responses"):
        if part.rows:
            yield part.name, read_index(log.folder.commits / index_name(part.name))


def find_todo(index: RowIndex, log: CommitLog, repeats: int) -> Todo:
    """Compare the dataset with what the committed parts hold. Failures that will be sent again count as not done."""
    done = np.zeros((index.rows_total, repeats), dtype=bool)
    keys, choices = [], []
    for _, entries in part_indexes(log):
        settled = entries[~entries["resend"] & (entries["repeat"] < repeats)]
        alone = settled["of"] > 0
        if alone.any():
            choices.append(settled[alone])
            settled = settled[~alone]
        keys.append(_mark_done(done, index, settled))
    whole, partial = _whole_cases(np.concatenate(choices)) if choices else (None, {})
    if whole is not None:
        keys.append(_mark_done(done, index, whole))
    known = np.sort(np.concatenate(keys)) if keys else np.empty(0, dtype=np.uint64)
    wanted = np.zeros(index.rows_total, dtype=bool)
    wanted[index.rows] = True
    wanted &= ~done.all(axis=1)
    return Todo(done, wanted, known, partial=partial)


def _mark_done(done: NDArray[np.bool_], index: RowIndex, settled: NDArray[np.void]) -> NDArray[np.uint64]:
    """Mark the cases of some entries as done and return the upper halves of their keys."""
    at = index.find(settled["row_high"].astype(np.uint64), settled["row_low"].astype(np.uint64))
    found = at >= 0
    done[index.rows[at[found]], settled["repeat"][found]] = True
    upper: NDArray[np.uint64] = settled["key_high"].astype(np.uint64)
    return upper


def _whole_cases(choices: NDArray[np.void]) -> tuple[NDArray[np.void], dict[bytes, set[int]]]:
    """Return an entry for each case whose choices are all there, and what there is of the others."""
    _, first, case, counts = np.unique(choices["key_high"], return_index=True, return_inverse=True, return_counts=True)
    whole = counts >= choices["of"][first]
    partial: dict[bytes, set[int]] = {}
    for entry in choices[~whole[case]]:
        partial.setdefault(key_of(entry), set()).add(int(entry["choice"]))
    return choices[first[whole]], partial
