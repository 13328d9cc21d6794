"""Owns rewriting parts: rows that are no longer right move to `superseded/`, targets and kept columns are renewed.

Two occasions. Before a session sends anything, failures that it will send again are taken out, so that (key, choice)
is unique at every moment. After a session that ended well, rows whose sample is no longer in dataset × config are taken
out, and rows whose target or kept columns changed are written again with the new ones. Each rewritten part takes the
old one's place in one rename.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from runner.crash_points import crash_point
from runner.folder.commits import Commit, CommittedFile, staged_path
from runner.folder.index import ENTRY, key_of, write_index
from runner.folder.layout import SUPERSEDED, index_name, part_name
from runner.folder.totals import Totals
from runner.pipeline.passes.produce import rows_as_requests
from runner.pipeline.passes.todo import part_indexes
from runner.pipeline.storing.keptcolumns import convert_columns
from runner.pipeline.storing.scoreparts import stage_scores
from runner.sinks import PartWriter, file_crc32, partition, read_row_groups, replace_values, table_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from runner.folder.commits import CommitLog
    from runner.pipeline.passes.produce import Production
    from runner.pipeline.storing.plan import Sealing
    from runner.records import Case

# So many changed rows are read into memory at once; more of them mean more passes over the dataset.
_CHANGED_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one part: keys whose rows go, and new companions for keys whose rows stay."""

    part: str
    entries: NDArray[np.void]
    gone: NDArray[np.bool_]
    renewed: dict[bytes, Case] = field(default_factory=dict)


def retract_failures(sealing: Sealing, log: CommitLog) -> int:
    """Take out the failures that this session sends again. Returns how many rows went."""
    changes = [
        Change(part, entries, entries["resend"].copy())
        for part, entries in part_indexes(log)
        if entries["resend"].any()
    ]
    return sum(_rewrite(sealing, log, change) for change in changes)


def reconcile(sealing: Sealing, log: CommitLog, production: Production) -> int:
    """Bring all parts in line with the dataset as it is now. Returns how many rows were superseded."""
    superseded = 0
    batch: list[tuple[str, NDArray[np.void], NDArray[np.bool_], NDArray[np.int64]]] = []
    size = 0
    for part, entries in part_indexes(log):
        gone, rows = _compare(entries, production)
        changed = int((rows >= 0).sum())
        if not gone.any() and not changed:
            continue
        batch.append((part, entries, gone, rows))
        size += changed
        if size >= _CHANGED_ROWS:
            superseded += _renew(sealing, log, production, batch)
            batch, size = [], 0
    return superseded + (_renew(sealing, log, production, batch) if batch else 0)


def _compare(entries: NDArray[np.void], production: Production) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which entries' samples are gone, and the row number of each entry that has to be renewed (else -1)."""
    index = production.index
    at = index.find(entries["row_high"].astype(np.uint64), entries["row_low"].astype(np.uint64))
    live = (at >= 0) & (entries["repeat"] < production.plan.repeats)
    rows = np.where(live & (index.carry[at] != entries["carry"]), index.rows[at].astype(np.int64), -1)
    if production.todo.relinked:
        for position in np.flatnonzero(~live):
            row = production.todo.relinked.get(key_of(entries[position]))
            if row is not None:
                rows[position] = row
    return ~live & (rows < 0), rows


def _renew(
    sealing: Sealing,
    log: CommitLog,
    production: Production,
    batch: list[tuple[str, NDArray[np.void], NDArray[np.bool_], NDArray[np.int64]]],
) -> int:
    wanted = np.zeros(production.index.rows_total, dtype=bool)
    for _, _, _, rows in batch:
        wanted[rows[rows >= 0]] = True
    requests = rows_as_requests(production, wanted) if wanted.any() else ()
    cases = {request.cases[0].key: request.cases[0] for request in requests}
    superseded = 0
    for part, entries, gone, rows in batch:
        keys = (key_of(entries[position]) for position in np.flatnonzero(rows >= 0))
        renewed = {key: cases[key] for key in keys if key in cases}
        superseded += _rewrite(sealing, log, Change(part, entries, gone, renewed))
    return superseded


def _rewrite(sealing: Sealing, log: CommitLog, change: Change) -> int:
    """Write a part again and commit it; what goes is kept in `superseded/`. Returns how many rows went."""
    number = log.next_number
    folder = sealing.folder
    schema = table_schema("responses", sealing.context.columns, sealing.metadata)
    leaves = change.entries[change.gone]
    gone = {key_of(entry).hex() for entry in leaves[leaves["of"] == 0]}
    gone_choices = {(key_of(entry).hex(), int(entry["choice"])) for entry in leaves[leaves["of"] > 0]}
    statuses: Counter[str] = Counter()
    stays = staged_path(folder, number, "responses", change.part)
    goes = staged_path(folder, number, SUPERSEDED, part_name(number))
    with PartWriter(stays, schema) as kept, PartWriter(goes, schema) as dropped:
        for batch in read_row_groups(folder.table("responses") / change.part):
            stay, out = partition(batch, gone, gone_choices)
            if out.num_rows:
                statuses.update(out.column("status").to_pylist())
                dropped.write_batch(out.select(schema.names).cast(schema))
            stay = _with_companions(stay, change.renewed, sealing)
            if stay.num_rows:
                kept.write_batch(stay.select(schema.names).cast(schema))
    crash_point("superseding:after-staging")
    index_path = staged_path(folder, number, "_commits", index_name(change.part))
    entries = _renewed_entries(change)
    write_index(index_path, entries)
    files = [
        _committed(folder_name, path, rows)
        for folder_name, path, rows in (
            ("responses", stays, kept.rows),
            ("_commits", index_path, len(entries)),
            (SUPERSEDED, goes, dropped.rows),
        )
        if folder_name != SUPERSEDED or rows
    ]
    files += stage_scores(sealing, number, change.part, stays)
    lost = sum(statuses.values())
    totals = Totals(by_status=Counter({status: -count for status, count in statuses.items()}), superseded=lost)
    log.append(Commit(number, "supersede", files=tuple(files), totals=totals))
    if not dropped.rows:
        goes.unlink()
    return lost


def _with_companions(batch: pa.RecordBatch, renewed: dict[bytes, Case], sealing: Sealing) -> pa.RecordBatch:
    """Return the rows with target and kept columns of the dataset as it is now."""
    keys = [bytes.fromhex(key) for key in batch.column("key").to_pylist()]
    positions = [position for position, key in enumerate(keys) if key in renewed]
    if not positions:
        return batch
    columns = sealing.context.columns
    cases = [renewed[keys[position]] for position in positions]
    converted = [convert_columns(orjson.loads(case.columns), columns, []) for case in cases]
    fresh: dict[str, list[Any]] = {"target": [case.target for case in cases]}
    for number, name in enumerate(columns):
        fresh[f"in_{name}"] = [values[number] for values in converted]
    return replace_values(batch, positions, fresh)


def _renewed_entries(change: Change) -> NDArray[np.void]:
    entries = change.entries[~change.gone].copy()
    for position in range(len(entries)) if change.renewed else ():
        case = change.renewed.get(key_of(entries[position]))
        if case is not None:
            entries[position]["row_high"] = int.from_bytes(case.row_digest[:8], "big")
            entries[position]["row_low"] = int.from_bytes(case.row_digest[8:], "big")
            entries[position]["carry"] = case.carry_digest
    ordered: NDArray[np.void] = entries[np.lexsort((entries["repeat"], entries["row_low"], entries["row_high"]))]
    return ordered.astype(ENTRY)


def _committed(where: str, path: Any, rows: int) -> CommittedFile:
    size, crc32 = file_crc32(path)
    return CommittedFile(where, path.name.split(".", 2)[2], rows, size, crc32)
