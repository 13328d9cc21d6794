"""Owns which rows are sent again on request (`--only`): those with a status, as they stand in the parts.

Statuses stand in the parts alone, so these are read: one row group at a time, and of that only the rows in question.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.errors import UsageError
from runner.folder.index import key_of
from runner.pipeline.passes.todo import Todo, find_todo, part_indexes
from runner.sinks import rows_where

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from runner.folder.commits import CommitLog
    from runner.pipeline.passes.rowindex import RowIndex

KINDS = ("failed", "truncated", "refused")

_SKIPPED = "skipped"
_SHOWN = ("sample_id", "repeat", "choice", "status", "error_kind")
_MOST_SHOWN = 20


@dataclass(slots=True)
class Again:
    """What is sent again: `todo` holds it, and nothing else.

    `by_status` counts the rows, `shown` describes the first 20 of them. `unsent` counts the cases that have no row yet:
    they stay as they are.
    """

    todo: Todo
    unsent: int
    by_status: Counter[str] = field(default_factory=Counter)
    shown: list[dict[str, Any]] = field(default_factory=list)


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the statuses that are asked for, each once. Raises UsageError."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(
                f"--only {kind:.60}: no such rows", hint=f"one of {', '.join(KINDS)}; several may be given"
            )
    return tuple(dict.fromkeys(kinds))


def find_again(index: RowIndex, log: CommitLog, repeats: int, only: Collection[str]) -> Again:
    """Find the cases of the dataset that have rows with one of the statuses. Raises DamagedError.

    A case whose choices came with one request is sent again with all of them; of one whose choices came one by one,
    only the choices in question are.
    """
    plain = find_todo(index, log, repeats)
    has_rows = plain.done
    nothing = np.empty(0, dtype=np.uint64)
    again = Again(Todo(np.ones_like(plain.done), np.zeros_like(plain.wanted), nothing), 0)
    for part, entries in part_indexes(log):
        at = index.find(entries["row_high"].astype(np.uint64), entries["row_low"].astype(np.uint64))
        there = (at >= 0) & (entries["repeat"] < repeats)
        _mark(has_rows, index, (entries, at), there & entries["resend"], value=True)
        rows = list(rows_where(log.folder.table("responses") / part, "status", {*only, _SKIPPED}, ("key", *_SHOWN)))
        skipped = {bytes.fromhex(row[1]) for row in rows if row[5] == _SKIPPED}
        for position in np.flatnonzero(there & _among(entries, skipped)):
            has_rows[index.rows[at[position]]] = True  # a bad row has one row, whatever `repeats` says
        rows = [row for row in rows if row[5] != _SKIPPED]
        chosen = there & _chosen(entries, {(bytes.fromhex(row[1]), row[4]) for row in rows}, again.todo.partial)
        _mark(again.todo.done, index, (entries, at), chosen, value=False)
        _describe(again, rows, {key_of(entry).hex() for entry in entries[chosen]})
    again.todo.wanted[index.rows] = True
    again.todo.wanted &= ~again.todo.done.all(axis=1)
    again.unsent = int((~has_rows[index.rows]).sum())
    return again


def _chosen(
    entries: NDArray[np.void], places: set[tuple[bytes, int]], partial: dict[bytes, set[int]]
) -> NDArray[np.bool_]:
    """Say which entries hold one of the rows (key, choice); note of choices that came one by one which to leave."""
    chosen = _among(entries, {key for key, _ in places})
    for position in np.flatnonzero(chosen & (entries["of"] > 0)):
        entry = entries[position]
        key, choice = key_of(entry), int(entry["choice"])
        if (key, choice) in places:
            partial.setdefault(key, set(range(int(entry["of"])))).discard(choice)
        else:
            chosen[position] = False
    return chosen


def _among(entries: NDArray[np.void], keys: set[bytes]) -> NDArray[np.bool_]:
    """Say which entries have one of the keys."""
    found: NDArray[np.bool_] = np.ones(len(entries), dtype=bool)
    for name, half in (("key_high", slice(0, 8)), ("key_low", slice(8, 16))):
        values = np.fromiter((int.from_bytes(key[half], "big") for key in keys), dtype=np.uint64, count=len(keys))
        found &= np.isin(entries[name].astype(np.uint64), values)
    return found


def _mark(
    marks: NDArray[np.bool_],
    index: RowIndex,
    found: tuple[NDArray[np.void], NDArray[np.int64]],
    chosen: NDArray[np.bool_],
    *,
    value: bool,
) -> None:
    entries, at = found
    marks[index.rows[at[chosen]], entries["repeat"][chosen]] = value


def _describe(again: Again, rows: list[tuple[Any, ...]], keys: set[str]) -> None:
    """Count the rows of these cases, and describe the first of them."""
    for row in rows:
        if row[1] in keys:
            again.by_status[row[5]] += 1
            if len(again.shown) < _MOST_SHOWN:
                again.shown.append(dict(zip(_SHOWN, row[2:], strict=True)))
