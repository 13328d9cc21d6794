"""Owns sealing: one closed journal segment becomes one part in each table, one index, one commit; then it is removed.

Runs in a worker thread while the run goes on. Everything is decided by the segment's bytes and the run's manifest, so
that doing it again after a crash gives the same parts.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.crash_points import crash_point
from runner.durable import remove
from runner.folder.commits import Commit, CommittedFile, staged_path
from runner.folder.index import index_array, write_index
from runner.folder.layout import TABLES, index_name, part_name
from runner.folder.totals import Totals
from runner.journal import FrameType, scan_segment
from runner.pipeline.storing.codec import decode_attempt, decode_skipped, read_meta, split_payload
from runner.pipeline.storing.packrows import is_whole_pack, pack_columns
from runner.pipeline.storing.reading import parse_record
from runner.pipeline.storing.replacing import settle
from runner.pipeline.storing.rowgroup import RowGroup
from runner.pipeline.storing.rows import group_columns
from runner.pipeline.storing.scoreparts import stage_scores
from runner.sinks import PartWriter, file_crc32, table_schema

if TYPE_CHECKING:
    from pathlib import Path

    from runner.folder.commits import CommitLog
    from runner.pipeline.storing.plan import Sealing
    from runner.pipeline.storing.reading import RowContext
    from runner.pipeline.storing.rows import GroupColumns
    from runner.sinks import Arrays

# Frames are turned into columns when they hold this much: parsed log probabilities take about ten times their bytes.
_GROUP_BYTES = 1024 * 1024
_GROUP_FRAMES = 2048
_ENDED = frozenset({FrameType.ANSWER, FrameType.FAILURE})


@dataclass(slots=True)
class StagedPart:
    """The files of one part while they are written: a writer a table, then the index, all in `_tmp/`.

    `again` collects the keys (hex) of cases that may have rows already, which this part's are to replace.
    """

    sealing: Sealing
    commit: int
    name: str
    index: bytearray = field(default_factory=bytearray)
    again: set[str] = field(default_factory=set)
    totals: Totals = field(default_factory=Totals)
    _writers: dict[str, PartWriter] = field(default_factory=dict)

    def write(self, made: GroupColumns) -> None:
        """Write one group of rows to every table that has rows in it."""
        arrays: Arrays = {}
        for table in TABLES:
            columns = getattr(made, table)
            if columns:
                self._writer(table).write_columns(columns, arrays)
        self.index += made.index
        self.again.update(made.again)
        self.totals.add(made.totals)

    def finish(self) -> tuple[CommittedFile, ...]:
        """Close and fsync all files and return what the commit says of them."""
        files = []
        for table, writer in self._writers.items():
            writer.close()
            files.append(CommittedFile(table, self.name, writer.rows, *writer.size_and_crc32))
        if "responses" in self._writers:
            name = index_name(self.name)
            path = staged_path(self.sealing.folder, self.commit, "_commits", name)
            entries = index_array(bytes(self.index))
            write_index(path, entries)
            size, crc32 = file_crc32(path)
            files.append(CommittedFile("_commits", name, len(entries), size, crc32))
            files += stage_scores(self.sealing, self.commit, self.name, self._writers["responses"].path)
        return tuple(files)

    def abandon(self) -> None:
        """Close what is open; the staged files are removed by the next recovery."""
        for writer in self._writers.values():
            with contextlib.suppress(Exception):  # the reason is already on its way up
                writer.close()

    def _writer(self, table: str) -> PartWriter:
        if table not in self._writers:
            path = staged_path(self.sealing.folder, self.commit, table, self.name)
            schema = table_schema(table, self.sealing.context.columns, self.sealing.metadata)
            light = self.sealing.context.dimension is not None
            self._writers[table] = PartWriter(path, schema, light=light)
        return self._writers[table]


def create_tables(sealing: Sealing, log: CommitLog) -> None:
    """Give every table its zero-row part, so that an empty run reads with all its columns."""
    number = log.next_number
    files = []
    for table in TABLES:
        path = staged_path(sealing.folder, number, table, part_name(0))
        writer = PartWriter(path, table_schema(table, sealing.context.columns, sealing.metadata))
        writer.close()
        files.append(CommittedFile(table, part_name(0), 0, *writer.size_and_crc32))
    log.append(Commit(number, "create", files=tuple(files)))


def seal_segment(sealing: Sealing, log: CommitLog, segment: Path, owed: Totals | None = None) -> Totals:
    """Seal one closed segment and remove it; a segment that a commit already names is only removed.

    `owed` counts requests whose answer died with their process. Returns its share of the totals.
    Raises DamagedError when the segment is damaged before its end, StorageError.
    """
    number = int(segment.stem)
    totals = Totals()
    if number not in log.sealed_segments:
        staged = StagedPart(sealing, log.next_number, part_name(number))
        try:
            _write_segment(staged, segment)
            staged.totals.add(owed or Totals())
            files = staged.finish()
            if staged.again:
                settled = settle(sealing, log, staged.again, files, staged.name)
                files = settled.files
                staged.totals.add(settled.totals)
        except BaseException:
            staged.abandon()
            raise
        crash_point("sealing:after-staging")
        totals = staged.totals
        log.append(Commit(staged.commit, "seal", files=files, segments=(number,), totals=totals))
    crash_point("sealing:before-segment-removal")
    remove(segment)
    crash_point("sealing:after-segment-removal")
    return totals


def _write_segment(staged: StagedPart, segment: Path) -> None:
    context = staged.sealing.context
    group, pending, frames = RowGroup(), 0, 0
    scan = scan_segment(segment, run_id=staged.sealing.metadata["run_id"])
    for frame in scan:
        whole = _add_frame(group, frame.kind, frame.payload, context)
        if whole is not None:
            staged.write(whole)
            crash_point("sealing:after-row-group")
            continue
        pending += len(frame.payload)
        frames += 1
        if pending >= _GROUP_BYTES or frames >= _GROUP_FRAMES:
            staged.write(group_columns(group, context))
            crash_point("sealing:after-row-group")
            group, pending, frames = RowGroup(), 0, 0
    staged.totals.torn_bytes += scan.end.torn_bytes if scan.end else 0
    staged.write(group_columns(group, context))


def _add_frame(group: RowGroup, kind: FrameType, payload: bytes, context: RowContext) -> GroupColumns | None:
    """Add what a frame holds to a group; a pack that makes a group of its own is returned as its columns."""
    if kind in _ENDED:
        meta, request, response = raw = split_payload(payload)
        ended = read_meta(meta)
        reading = parse_record(ended, (request, response), context)
        if is_whole_pack(ended, reading):
            return pack_columns(ended, reading, raw, context)
        group.add(ended, reading, raw)
    elif kind == FrameType.ATTEMPT:
        group.attempts.append(decode_attempt(payload))
    elif kind == FrameType.SKIPPED:
        group.skipped.append(decode_skipped(payload))
    return None
