"""Owns the first pass over a dataset: bad rows, duplicate ids, column types and identity, before any request."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast
from zlib import adler32, crc32

import numpy as np

from runner.digest import digest128
from runner.errors import DatasetError
from runner.pipeline.passes.fileblocks import read_blocks
from runner.pipeline.passes.rowindex import NO_ROW, RECORD, build_row_index, extend_row_index
from runner.pipeline.requests.fingerprint import RowReader, UnusableRowError, id_text, row_digests
from runner.readers import BadRow, read_batches, scan_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from runner.pipeline.passes.fileblocks import FileBlock
    from runner.pipeline.passes.rowindex import RowIndex
    from runner.pipeline.requests.fingerprint import RequestPlan
    from runner.readers import CellScan, ColumnScan, RowBatch

_SHOWN = 20
_NO_IDS = np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class BadPlace:
    """A row that cannot be used: `source` is `file:line`."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What the first pass found.

    `ids` are sorted checksums of all ids, empty where rows have none; `blocks` are those of a single JSONL file,
    of which the first `compared` were found to be what they had been.
    """

    index: RowIndex
    samples: int
    bad_rows: int
    bad_shown: tuple[BadPlace, ...]
    columns: Mapping[str, str]
    ids: NDArray[np.uint64] = field(default_factory=lambda: _NO_IDS)
    blocks: tuple[FileBlock, ...] = ()
    compared: int = 0

    @property
    def fingerprint(self) -> str:
        """A digest of the whole dataset's content, whatever its order."""
        return digest128(self.index.high.tobytes() + self.index.carry.tobytes()).hex()


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """What to read and how: `kinds` are the configured column types, `source` those of a columnar file."""

    paths: Sequence[Path]
    plan: RequestPlan
    limit: int | None
    kinds: Mapping[str, str]
    source: Any


@dataclass(slots=True)
class _Pass:
    """State of one pass, a row at a time."""

    plan: RequestPlan
    most: float
    reader: RowReader
    records: bytearray = field(default_factory=bytearray)
    ids: array[int] = field(default_factory=lambda: array("Q"))
    samples: int = 0
    bad_rows: int = 0
    bad_shown: list[BadPlace] = field(default_factory=list)

    def add_batch(self, batch: RowBatch) -> list[Mapping[str, Any]]:
        """Take in a batch and return its usable rows."""
        return self._add_alike(batch) or self._add_each(batch)

    def _add_alike(self, batch: RowBatch) -> list[Mapping[str, Any]] | None:
        """Take in a batch all of whose rows are alike and usable; null, and nothing taken in, where they are not."""
        read = self.reader.read_all(batch.rows) if len(batch.rows) + self.samples <= self.most else None
        if read is None:
            return None
        rows = cast("list[Mapping[str, Any]]", batch.rows)
        contents, carries = read
        if (id_column := self.plan.id_column) is not None:
            ids = [row[id_column] for row in rows]
            if set(map(type, ids)) != {str} or not all(ids):
                return None
            self.ids.frombytes(_id_checksums(ids))
        records = np.empty(len(rows), dtype=RECORD)
        digests = np.frombuffer(b"".join(row_digests(self.plan, contents)), dtype=">u8")
        records["high"], records["low"], records["carry"] = digests[::2], digests[1::2], carries
        self.records += records.tobytes()
        self.samples += len(rows)
        return rows

    def _add_each(self, batch: RowBatch) -> list[Mapping[str, Any]]:
        records, add_id, read = self.records, self.ids.append, self.reader.read
        prefix, id_column = self.plan.request_digest, self.plan.id_column
        usable: list[Mapping[str, Any]] = []
        for position, row in enumerate(batch.rows):
            if len(usable) + self.samples >= self.most:
                records += NO_ROW
                continue
            try:
                if isinstance(row, BadRow):
                    raise UnusableRowError(row.reason)
                content, carry = read(row)
                if id_column is not None:
                    add_id(_id_checksum(id_text(id_column, row[id_column])))
            except (UnusableRowError, TypeError) as error:
                self._add_bad(batch, position, str(error))
                continue
            records += blake2b(prefix + content, digest_size=16).digest() + carry.to_bytes(4, "little")
            usable.append(row)
        self.samples += len(usable)
        return usable

    def _add_bad(self, batch: RowBatch, position: int, reason: str) -> None:
        source = f"{batch.file}:{batch.lines[position]}"
        self.records += bad_row_digest(source, reason) + bytes(4)
        self.bad_rows += 1
        if len(self.bad_shown) < _SHOWN:
            self.bad_shown.append(BadPlace(source, reason))


def bad_row_digest(source: str, reason: str) -> bytes:
    """Return the digest of a row that cannot be used; its place and reason are all it has."""
    return digest128(f"bad row\0{source}\0{reason}".encode("utf-8", "replace"))


def scan_dataset(scan_plan: ScanPlan) -> Scan:
    """Read the whole dataset once.

    Raises DatasetError for an unreadable file, an empty dataset and duplicate ids. Bad rows are only counted.
    """
    plan, limit = scan_plan.plan, scan_plan.limit
    state = _Pass(plan, float("inf") if limit is None else limit, RowReader(plan))
    columns = scan_for(scan_plan.paths)
    blocks = _blocks_of(scan_plan)
    for batch in read_batches(scan_plan.paths):
        columns.update(state.add_batch(batch))
        if state.samples >= state.most:
            break
    if not state.samples and not state.bad_rows:
        names = ", ".join(str(path) for path in scan_plan.paths)
        raise DatasetError(f"{names}: the dataset has no rows")
    ids = np.sort(np.frombuffer(state.ids, dtype=np.uint64)) if state.ids else _NO_IDS
    _refuse_duplicates(plan, scan_plan.paths, ids)
    kept = _kept_kinds(scan_plan, columns)
    index = build_row_index(state.records, count_occurrences=plan.id_column is None)
    return Scan(index, state.samples, state.bad_rows, tuple(state.bad_shown), kept, ids, blocks)


def scan_appended(scan_plan: ScanPlan, known: Scan, most_rows: int) -> Scan | None:
    """Read only the rows behind those that are known, at most `most_rows`; null where that cannot be enough.

    Only for rows with ids: whether content stood before cannot be told from digests. Null also when an id may stand
    twice or a column is not what it was, so that a full scan decides.
    """
    blocks = (*known.blocks, *_blocks_of(scan_plan, start=sum(block.size for block in known.blocks)))
    columns = scan_for(scan_plan.paths)
    state = _Pass(scan_plan.plan, float("inf"), RowReader(scan_plan.plan))
    wanted = np.zeros(known.index.rows_total + most_rows, dtype=bool)
    wanted[known.index.rows_total :] = True
    for batch in read_batches(scan_plan.paths, wanted=wanted):
        columns.update(state.add_batch(batch))
    fresh = np.sort(np.frombuffer(state.ids, dtype=np.uint64)) if state.ids else _NO_IDS
    ids = np.concatenate([known.ids, fresh])
    ids.sort()
    kept = _kept_kinds(scan_plan, columns)
    if (ids[1:] == ids[:-1]).any() or state.bad_rows or any(known.columns.get(n) != kind for n, kind in kept.items()):
        return None
    index = extend_row_index(known.index, state.records)
    return Scan(
        index,
        known.samples + state.samples,
        known.bad_rows,
        known.bad_shown,
        known.columns,
        ids,
        blocks,
        len(known.blocks),
    )


def _kept_kinds(scan_plan: ScanPlan, columns: ColumnScan | CellScan) -> dict[str, str]:
    plan = scan_plan.plan
    found = {} if plan.ready_made else columns.kinds(scan_plan.kinds, scan_plan.source)
    return {name: str(kind) for name, kind in found.items() if plan.kept is None or name in plan.kept}


def single_jsonl(scan_plan: ScanPlan) -> Path | None:
    """Return the dataset's file where it is one plain JSONL file that is read whole and alone: that can be remembered.

    What stands in files that the rows name may have changed although the dataset did not.
    """
    paths = scan_plan.paths
    plain = len(paths) == 1 and paths[0].suffix in {".jsonl", ".ndjson"} and scan_plan.plan.file_digests is None
    return paths[0] if plain and scan_plan.limit is None else None


def _blocks_of(scan_plan: ScanPlan, start: int = 0) -> tuple[FileBlock, ...]:
    path = single_jsonl(scan_plan)
    try:
        return read_blocks(path, start) if path is not None else ()
    except OSError:
        return ()  # the reader says what is wrong with the file


def _id_checksums(ids: Sequence[str]) -> bytes:
    """Return `_id_checksum` of each, as an array's bytes."""
    encoded = [own_id.encode("utf-8", "replace") for own_id in ids]
    high, low = (np.fromiter(map(check, encoded), np.uint64, len(encoded)) for check in (adler32, crc32))
    return (high << np.uint64(32) | low).tobytes()


def _id_checksum(own_id: str) -> int:
    """Return a 64-bit checksum, the same in every process. Equal checksums only call for a closer look."""
    data = own_id.encode("utf-8", "replace")
    return adler32(data) << 32 | crc32(data)


def _refuse_duplicates(plan: RequestPlan, paths: Sequence[Path], ids: NDArray[np.uint64]) -> None:
    again = np.unique(ids[1:][ids[1:] == ids[:-1]])
    if not len(again):
        return
    places = _places_of(plan, paths, set(again[:_SHOWN].tolist()))
    twice = {own_id: lines for own_id, lines in places.items() if len(lines) > 1}
    if twice or len(again) > _SHOWN:
        shown = "\n".join(
            f"  {own_id!r:.60}: {', '.join(lines[:5])}{' …' if len(lines) > 5 else ''}"  # noqa: PLR2004 - enough
            for own_id, lines in twice.items()
        )
        count = f"{len(again)} id{'s' if len(again) > 1 else ''}"
        raise DatasetError(
            f"{count} in column '{plan.id_column}' stand more than once:\n{shown}",
            hint="an id names one sample; leave dataset.id out to have rows named by their content",
        )


def _places_of(plan: RequestPlan, paths: Sequence[Path], wanted: set[int]) -> dict[str, list[str]]:
    column = plan.id_column or ""
    places: dict[str, list[str]] = {}
    for batch in read_batches(paths):
        for line, row in zip(batch.lines, batch.rows, strict=True):
            if not isinstance(row, BadRow) and row.get(column) is not None:
                own_id = str(row[column])
                if _id_checksum(own_id) in wanted:
                    places.setdefault(own_id, []).append(f"{batch.file}:{line}")
    return places
