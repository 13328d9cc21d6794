"""Owns which rows stand where a later answer came for a case that has rows already: the last accepted answer.

A failure never replaces an answer, and a later failure replaces an earlier one. It is decided when the later rows are
sealed, in the same commit, by what stands in the parts and in the segment: so until then the earlier rows stand, and
(key, choice) is unique at every moment. What does not stand moves to `superseded/`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from runner.crash_points import crash_point
from runner.durable import publish
from runner.folder.commits import CommittedFile, staged_path
from runner.folder.index import ENTRY, key_of, read_index, write_index
from runner.folder.layout import SUPERSEDED, index_name, part_name
from runner.folder.totals import Totals
from runner.pipeline.passes.todo import part_indexes
from runner.pipeline.storing.rowgroup import RESEND
from runner.pipeline.storing.scoreparts import stage_scores
from runner.sinks import PartWriter, file_crc32, read_row_groups, rows_where, split_rows, table_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from numpy.typing import NDArray

    from runner.folder.commits import CommitLog
    from runner.pipeline.storing.plan import Sealing

_FAILED = "failed"
_SEEN = ("key", "choice", "status", "error_kind")


class _Row(NamedTuple):
    """One row of a case that was asked again: where it stands, and what came of it."""

    part: str
    place: int
    key: str
    choice: int
    status: str
    error_kind: str | None


@dataclass(slots=True)
class _Contest:
    """The rows of all cases that were asked again, part after part in the order in which they came."""

    standing: dict[tuple[str, int], _Row] = field(default_factory=dict)
    lost: dict[str, list[_Row]] = field(default_factory=dict)
    choices: dict[tuple[str, str], set[int]] = field(default_factory=dict)

    def add(self, row: _Row) -> None:
        """Take in the next row; of two with the same (key, choice) one has lost."""
        self.choices.setdefault((row.part, row.key), set()).add(row.choice)
        before = self.standing.get((row.key, row.choice))
        loser = row
        if before is None or outlives(row.status, before.status):
            self.standing[row.key, row.choice] = row
            loser = before or row
        if before is not None:
            self.lost.setdefault(loser.part, []).append(loser)

    def stand(self, part: str, key: str) -> dict[int, _Row]:
        """Return the rows of a case that stand in a part, by choice."""
        rows = (self.standing[key, choice] for choice in self.choices[part, key])
        return {row.choice: row for row in rows if row.part == part}


@dataclass(frozen=True, slots=True)
class Settled:
    """What a commit puts in place besides its new part: `files` in the order in which they have to appear."""

    files: tuple[CommittedFile, ...]
    totals: Totals


def outlives(later: str, earlier: str) -> bool:
    """Say by their statuses whether a later row stands in place of an earlier one with the same (key, choice)."""
    return later != _FAILED or earlier == _FAILED


def settle(
    sealing: Sealing, log: CommitLog, again: AbstractSet[str], staged: Sequence[CommittedFile], name: str
) -> Settled:
    """Decide between the rows of a staged part and those that stand; write the parts again that lose some.

    `again` are the keys (hex) of the staged part's cases that may have rows already. Parts that lose rows come before
    the new one, so that no row ever stands twice. Raises DamagedError, StorageError.
    """
    number = log.next_number
    indexes = {part: entries for part, entries in part_indexes(log) if _among(entries, again).any()}
    paths = {part: sealing.folder.table("responses") / part for part in indexes}
    paths[name] = staged_path(sealing.folder, number, "responses", name)
    contest = _Contest()
    for part, path in paths.items():
        for row in _rows_of(part, path, again):
            contest.add(row)
    if not contest.lost:
        return Settled(tuple(staged), Totals())
    indexes[name] = read_index(staged_path(sealing.folder, number, "_commits", index_name(name)))
    files: list[CommittedFile] = []
    goes = staged_path(sealing.folder, number, SUPERSEDED, part_name(number))
    with PartWriter(goes, table_schema("responses", sealing.context.columns, sealing.metadata)) as dropped:
        for part in sorted(contest.lost, key=lambda part: (part == name, part)):
            left = _entries_left(indexes[part], part, contest)
            staying = staged_path(sealing.folder, number, "responses", part)
            lost = {row.place for row in contest.lost[part]}
            rows = _write_without(paths[part], staying, lost, dropped)
            index = staged_path(sealing.folder, number, "_commits", index_name(part))
            write_index(index, left)
            files += [_committed("responses", staying, rows), _committed("_commits", index, len(left))]
            files += stage_scores(sealing, number, part, staying)
    files.append(_committed(SUPERSEDED, goes, dropped.rows))
    crash_point("superseding:after-staging")
    own = {(file.folder, file.name) for file in files}
    statuses = Counter(row.status for rows in contest.lost.values() for row in rows)
    totals = Totals(
        by_status=Counter({status: -count for status, count in statuses.items()}), superseded=sum(statuses.values())
    )
    return Settled((*files, *(file for file in staged if (file.folder, file.name) not in own)), totals)


def _among(entries: NDArray[np.void], keys: AbstractSet[str]) -> NDArray[np.bool_]:
    """Say which entries may be of one of some cases; the upper halves of keys are looked at."""
    upper = np.array([int(key[:16], 16) for key in keys], dtype=np.uint64)
    return np.isin(entries["key_high"].astype(np.uint64), upper)


def _rows_of(part: str, path: Path, again: AbstractSet[str]) -> Iterator[_Row]:
    for place, *values in rows_where(path, "key", again, _SEEN):
        yield _Row(part, place, *values)


def _entries_left(entries: NDArray[np.void], part: str, contest: _Contest) -> NDArray[np.void]:
    """Return a part's index without the rows that have lost; a case of which only some have gets one entry a choice."""
    changed = {row.key for row in contest.lost[part]}
    own: dict[str, list[int]] = {}
    for position in np.flatnonzero(_among(entries, changed)).tolist():
        key = key_of(entries[position]).hex()
        if key in changed:
            own.setdefault(key, []).append(position)
    made = [np.delete(entries, [position for positions in own.values() for position in positions])]
    for key, positions in own.items():
        stand, among = contest.stand(part, key), contest.choices[part, key]
        if not stand:
            continue
        whole, of = entries[positions[-1:]].copy(), int(entries["of"][positions].max())
        sent_again = _sent_again(entries[positions], stand)
        whole["resend"] = all(sent_again.values())
        if not of and stand.keys() == among:
            whole["choice"] = whole["of"] = 0
            made.append(whole)
            continue
        choices = sorted(stand)
        each = np.repeat(whole, len(choices))
        each["choice"], each["of"] = choices, of or max(len(among), max(among) + 1)
        each["resend"] = [sent_again[choice] for choice in choices]
        made.append(each)
    left = np.concatenate(made)
    return left[np.lexsort((left["repeat"], left["row_low"], left["row_high"]))].astype(ENTRY)


def _sent_again(own: NDArray[np.void], stand: Mapping[int, _Row]) -> dict[int, bool]:
    """Say of the rows of a case that stand whether a later session sends them again: only those that it would have.

    `own` are the case's entries so far. A failure of a passing kind that they do not mark is poison, and stays so.
    """
    marked = set(own["choice"][own["resend"]].tolist())
    spread = bool(own["of"].any())
    return {
        choice: row.status == _FAILED and row.error_kind in RESEND and (choice if spread else 0) in marked
        for choice, row in stand.items()
    }


def _write_without(source: Path, target: Path, lost: AbstractSet[int], dropped: PartWriter) -> int:
    """Write the rows of a part that have not lost, and the others to `dropped`; return how many stay.

    The two paths may be the same: a staged part is replaced once it is written.
    """
    fresh, before = target.with_name(f"{target.name}.settled"), 0
    with PartWriter(fresh, dropped.schema) as kept:
        for batch in read_row_groups(source):
            goes = [before + place in lost for place in range(batch.num_rows)]
            before += batch.num_rows
            for part, writer in zip(split_rows(batch, goes), (kept, dropped), strict=True):
                if part.num_rows:
                    writer.write_batch(part.select(dropped.schema.names).cast(dropped.schema))
    publish(fresh, target)
    return kept.rows


def _committed(where: str, path: Path, rows: int) -> CommittedFile:
    size, crc32 = file_crc32(path)
    return CommittedFile(where, path.name.split(".", 2)[2], rows, size, crc32)
