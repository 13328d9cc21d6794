"""Owns parsing the kept bodies again: parts of `responses` are made anew from `raw`, no request is sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from runner.errors import DamagedError
from runner.folder.commits import Commit, CommittedFile, staged_path
from runner.folder.index import ENTRY, index_array, key_of, place_of, read_index, write_index
from runner.folder.layout import index_name
from runner.folder.totals import Totals
from runner.pipeline.requests.cases import case_keys
from runner.pipeline.storing.codec import read_meta
from runner.pipeline.storing.rowgroup import RowGroup
from runner.pipeline.storing.rows import group_columns
from runner.pipeline.storing.scoreparts import stage_scores
from runner.sinks import PartWriter, file_crc32, read_row_groups, table_schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from numpy.typing import NDArray

    from runner.folder.commits import CommitLog
    from runner.pipeline.storing.plan import Sealing
    from runner.pipeline.storing.rows import Columns

_GROUP_BYTES = 2 * 1024 * 1024
# Which request a row came from: its key and its request's key, both as hex, and the attempt that ended the request: a
# part may hold several answers to one request, of which one stands.
Place: TypeAlias = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Resealed:
    """What resealing changed: rows written again, and rows by status before and after."""

    parts: int
    rows: int
    before: dict[str, int]
    after: dict[str, int]


def reseal(sealing: Sealing, log: CommitLog) -> Resealed:
    """Make every part of `responses` again from its raw bodies; rows without raw bodies stay as they are.

    Targets and kept columns stay those of the present rows. Raises DamagedError for a part that cannot be read.
    """
    before = dict(log.totals.by_status)
    parts = rows = 0
    for part in log.parts("responses"):
        if part.rows:
            rows += reseal_part(sealing, log, part.name)
            parts += 1
    return Resealed(parts, rows, before, {status: n for status, n in log.totals.by_status.items() if n})


def reseal_part(sealing: Sealing, log: CommitLog, name: str) -> int:
    """Make one part of `responses` and its index again; return its number of rows."""
    folder, number = sealing.folder, log.next_number
    schema = table_schema("responses", sealing.context.columns, sealing.metadata)
    companions, present, before = _present_rows(folder.table("responses") / name, schema.names)
    old = _old_index(sealing, name)
    single = {place_of(entry) for entry in old if entry["of"]} if old is not None else set()
    path = staged_path(folder, number, "responses", name)
    entries = b""
    after: Counter[str] = Counter()
    parsed: set[Place] = set()
    own, choice = schema.names[schema.names.index("target") :], schema.names.index("choice")
    with PartWriter(path, schema) as writer:
        for group in _parsed_groups(sealing, folder.table("raw") / name, companions):
            made = group_columns(group, sealing.context)
            columns = _of_present(made.responses, companions, single, own)
            writer.write_columns(columns)
            after.update(columns.get("status", ()))
            parsed.update(_places(columns))
            entries += _entries_of(made.index, columns, {key for key, _ in single})
        kept = [row for place, rows in present.items() if place not in parsed for row in rows]
        if kept:
            columns = dict(zip(schema.names, zip(*kept, strict=True), strict=True))
            writer.write_columns(columns)
            after.update(columns["status"])
    unparsed = {(row[0], row[choice]) for row in kept}
    index = index_array(entries) if old is None else _merged_index(old, entries, unparsed, {key for key, _ in single})
    index_path = staged_path(folder, number, "_commits", index_name(name))
    write_index(index_path, index)
    files = (
        _file("responses", name, path, writer.rows),
        _file("_commits", index_name(name), index_path, len(index)),
        *stage_scores(sealing, number, name, path),
    )
    delta = Counter(after)
    delta.subtract(before)
    log.append(Commit(number, "reseal", files=files, totals=Totals(by_status=delta)))
    return writer.rows


def _present_rows(
    path: Path, names: list[str]
) -> tuple[dict[Place, tuple[Any, ...]], dict[Place, list[tuple[Any, ...]]], Counter[str]]:
    """Return target and kept columns, whole rows for those that raw does not hold, both by place, and statuses."""
    first_companion, request_key, attempts = map(names.index, ("target", "request_key", "attempts"))
    companions: dict[Place, tuple[Any, ...]] = {}
    rows: dict[Place, list[tuple[Any, ...]]] = {}
    statuses: Counter[str] = Counter()
    for batch in read_row_groups(path):
        columns = [batch.column(name).to_pylist() for name in names]
        for row in zip(*columns, strict=True):
            place = (row[0], row[request_key], row[attempts])
            companions[place] = row[first_companion:]
            rows.setdefault(place, []).append(row)
            statuses[row[6]] += 1
    return companions, rows, statuses


def _places(columns: Columns) -> Iterator[Place]:
    return zip(*(columns.get(name, ()) for name in ("key", "request_key", "attempts")), strict=True)


def _of_present(
    columns: Columns,
    companions: Mapping[Place, tuple[Any, ...]],
    single: AbstractSet[tuple[bytes, int]],
    own: Sequence[str],
) -> Columns:
    """Leave out rows whose place the part does not hold now, and give the others its target and kept columns.

    Of a case that has its choices one by one in the index (`single`), the others may stand in another part.
    """
    split = {key.hex() for key, _ in single}
    rows = zip(_places(columns), columns.get("choice", ()), strict=True)
    chosen = [
        place in companions and (place[0] not in split or (bytes.fromhex(place[0]), choice) in single)
        for place, choice in rows
    ]
    found: Columns = {name: list(compress(column, chosen)) for name, column in columns.items()}
    for position, name in enumerate(own):
        found[name] = [companions[place][position] for place in _places(found)]
    return found


def _entries_of(index: bytes, columns: Columns, split: AbstractSet[bytes]) -> bytes:
    """Return the entries of the cases, or the single choices, that are among some rows.

    Of a case in `split` the part may hold some choices only: what its old index says of it holds.
    """
    entries = np.frombuffer(index, dtype=ENTRY)
    rows = set(zip(columns.get("key", ()), columns.get("choice", ()), strict=True))
    keys = {key for key, _ in rows}
    present = [
        (key_of(entry).hex(), int(entry["choice"])) in rows
        if entry["of"]
        else key_of(entry).hex() in keys and key_of(entry) not in split
        for entry in entries
    ]
    return entries[present].tobytes() if len(entries) else b""


def _parsed_groups(sealing: Sealing, path: Path, present: Collection[Place]) -> Iterator[RowGroup]:
    """Yield what raw holds of the rows that are present, parsed again; other answers to the same request are not."""
    group, pending = RowGroup(), 0
    for batch in read_row_groups(path) if path.exists() else ():
        for meta, request, response in zip(
            *(batch.column(name).to_pylist() for name in ("meta", "request", "response")), strict=True
        ):
            ended = read_meta(meta)
            if not any((key, ended.key, ended.attempts) in present for key in case_keys(ended.cases)):
                continue
            group.add_record(meta, request, response or b"", sealing.context)
            pending += len(meta) + len(response or b"")
            if pending >= _GROUP_BYTES:
                yield group
                group, pending = RowGroup(), 0
    if group.rows:
        yield group


def _old_index(sealing: Sealing, name: str) -> NDArray[np.void] | None:
    """Return a part's index as it is; null where it is damaged."""
    try:
        return read_index(sealing.folder.commits / index_name(name))
    except DamagedError:
        return None


def _merged_index(
    old: NDArray[np.void], fresh: bytes, unparsed: AbstractSet[tuple[str, int]], split: AbstractSet[bytes]
) -> Any:
    """Keep what the old index says of rows (key, choice) that were not parsed again; the others' digests are raw's."""
    from_old = {place_of(entry): entry for entry in old}
    merged = index_array(fresh)
    places = [place_of(entry) for entry in merged]
    for position, place in enumerate(places):
        if place in from_old:  # its digest and companions may have been renewed since it was journaled
            for field in ("row_high", "row_low", "carry"):
                merged[position][field] = from_old[place][field]
    missing = from_old.keys() - set(places)
    rest = [
        entry
        for (key, choice), entry in from_old.items()
        if (key, choice) in missing and ((key.hex(), choice) in unparsed or key in split)
    ]
    joined = np.concatenate([merged, np.array(rest, dtype=merged.dtype)]) if rest else merged
    ordered = joined[np.lexsort((joined["repeat"], joined["row_low"], joined["row_high"]))]
    return ordered.astype(ENTRY)  # joining arrays gives them this machine's byte order


def _file(where: str, name: str, path: Path, rows: int) -> CommittedFile:
    size, crc32 = file_crc32(path)
    return CommittedFile(where, name, rows, size, crc32)
