"""Owns checking a run folder byte by byte, and saving what is sound of a damaged one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from runner.durable import create_folder, sync_file
from runner.errors import DamagedError, RunFolderError, RunnerError, StorageError
from runner.folder.commits import Commit, CommitLog, read_commits, read_sound_commits, staged_path
from runner.folder.index import place_of, read_index
from runner.folder.layout import SUPERSEDED, TABLES, index_name, part_name, scores_table
from runner.folder.manifest import INTERRUPTED, read_manifest, write_manifest
from runner.folder.totals import Totals
from runner.journal import FrameType, SegmentHeader, SegmentWriter, list_segments, salvage_segment, scan_segment
from runner.pipeline.requests.cases import case_keys
from runner.pipeline.storing.codec import encode_attempt, join_parts, part_of, read_meta
from runner.pipeline.storing.recovery import next_segment, recover
from runner.records import Attempt
from runner.sinks import file_crc32, read_row_groups, verify_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.folder.commits import CommittedFile
    from runner.folder.layout import RunFolder
    from runner.pipeline.storing.plan import Sealing

_RECORDS = (FrameType.ANSWER, FrameType.FAILURE, FrameType.ATTEMPT, FrameType.SKIPPED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with one file: `problem` says what, `lost` whether sound rows are gone with it."""

    file: str
    problem: str
    lost: bool = True


@dataclass(slots=True)
class Report:
    """What a check found. `findings` is empty for a sound run."""

    run_dir: str
    files: int = 0
    bytes: int = 0
    rows: int = 0
    journal_frames: int = 0
    torn_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.findings


def verify(folder: RunFolder) -> Report:
    """Read everything a run folder holds, with checksums. Raises RunFolderError when it is no run at all."""
    report = Report(str(folder.root))
    try:
        read_manifest(folder)
    except RunFolderError as error:
        if not folder.commits.is_dir():
            raise
        report.findings.append(Finding("manifest.json", error.message))
    try:
        log = read_commits(folder)
    except DamagedError as error:
        report.findings.append(Finding("_commits", error.message))
        log = read_sound_commits(folder)
    pending = {(f.folder, f.name) for f in log.last.files} if log.last else set()
    for file in log.files.values():
        _check_file(folder, log, file, report, is_pending=(file.folder, file.name) in pending)
    _check_keys(folder, log, report)
    _check_strays(folder, log, report)
    _check_journal(folder, report)
    return report


def salvage(folder: RunFolder, target: RunFolder, sealing: Sealing) -> Report:
    """Copy all that is sound into a new run folder, which can be resumed. `sealing` is that of the target.

    Sound files are copied as they are; of a damaged part of `responses` with a sound part of `raw`, the rows are made
    again from the raw bodies; of a damaged segment, all sound frames are kept. Raises CannotCreateError, StorageError.
    """
    report = verify(folder)
    damaged = {finding.file for finding in report.findings}
    for path in (target.root, target.staging, target.journal, target.commits):
        create_folder(path)
    for table in (*TABLES, SUPERSEDED):
        create_folder(target.table(table))
    # Scores are made again by the next session: they hold nothing that the answers do not.
    manifest = replace(read_manifest(folder), status=INTERRUPTED, scoring="")
    write_manifest(target, manifest)
    old = read_sound_commits(folder)
    log = CommitLog(target)
    sound = [
        file
        for file in old.files.values()
        if f"{file.folder}/{file.name}" not in damaged and not file.folder.startswith(scores_table(""))
    ]
    whole = [file for file in sound if _has_companion(file, sound)]
    for file in whole:
        source = _source(folder, old, file)
        staged = staged_path(target, 1, file.folder, file.name)
        _copy(source, staged)
    log.append(Commit(1, "salvage", tuple(whole), segments=tuple(old.sealed_segments), totals=_recount(target, whole)))
    kept = {file.name for file in whole if file.folder == "responses"}
    again = [file.name for file in old.parts("raw") if file.rows and f"raw/{file.name}" not in damaged]
    seen = _places_of(folder, old, kept)
    number = next_segment(target, log)
    for part in reversed([name for name in again if name not in kept]):
        attempts = None if f"attempts/{part}" in damaged else folder.table("attempts") / part
        _journal_again(target, (folder.table("raw") / part, attempts), seen, (number, manifest.run_id))
        number += 1
    for segment in list_segments(folder.journal).paths:
        number = _salvage_segment(segment, target, number, manifest.run_id)
    recover(sealing, log)
    return report


def _has_companion(file: CommittedFile, sound: list[CommittedFile]) -> bool:
    """Say whether a file is of use: a part without its index, or the other way round, is made again."""
    places = {(one.folder, one.name) for one in sound}
    if file.folder == "responses" and file.rows:
        return ("_commits", file.name.replace(".parquet", ".index.npy")) in places
    if file.folder == "_commits":
        return ("responses", file.name.replace(".index.npy", ".parquet")) in places
    # The bodies and attempts of a part that has to be made again are journaled again with it.
    return not (file.folder in {"raw", "attempts"} and file.rows) or ("responses", file.name) in places


def _check_file(folder: RunFolder, log: CommitLog, file: CommittedFile, report: Report, *, is_pending: bool) -> None:
    name = f"{file.folder}/{file.name}"
    path = _source(folder, log, file) if is_pending else folder.root / file.folder / file.name
    report.files += 1
    if not path.exists():
        report.findings.append(Finding(name, "the file is missing"))
        return
    try:
        size, crc32 = file_crc32(path)
        report.bytes += size
        if (size, crc32) != (file.bytes, file.crc32):
            difference = f"{size} bytes, not {file.bytes}" if size != file.bytes else "its checksum differs"
            report.findings.append(Finding(name, f"the file is not what was committed ({difference})"))
        elif file.folder == "_commits":
            read_index(path)
        elif verify_part(path) != file.rows:
            report.findings.append(Finding(name, f"the part does not hold its {file.rows} rows"))
        elif file.folder == "responses":
            report.rows += file.rows
    except StorageError as error:
        report.findings.append(Finding(name, error.message))


def _source(folder: RunFolder, log: CommitLog, file: CommittedFile) -> Path:
    """Return where a committed file lies: a crash may have left the last commit's files waiting in `_tmp/`."""
    if log.last:
        staged = staged_path(folder, log.last.number, file.folder, file.name)
        if staged.exists():
            return staged
    return folder.root / file.folder / file.name


def _check_keys(folder: RunFolder, log: CommitLog, report: Report) -> None:
    """Say whether any case stands in two parts; the indexes hold 16 bytes for each."""
    keys = []
    for file in log.parts("_commits"):
        try:
            index = read_index(_source(folder, log, file))
        except RunnerError:
            continue  # reported already
        keys.append(np.stack([index["key_high"], index["key_low"], index["choice"]], axis=1).astype(np.uint64))
    if keys:
        together = np.concatenate(keys)
        twice = len(together) - len(np.unique(together, axis=0))
        if twice:
            report.findings.append(Finding("responses", f"{twice} keys stand more than once", lost=False))


def _check_strays(folder: RunFolder, log: CommitLog, report: Report) -> None:
    # A crash may have come before the last commit's files were taken away.
    known = {*log.files, *(log.last.removed if log.last else ())}
    scores = [scores_table(path.name) for path in sorted(folder.table("scores").glob("*")) if path.is_dir()]
    for table in (*TABLES, SUPERSEDED, *scores):
        path = folder.table(table)
        for stray in sorted(path.iterdir()) if path.is_dir() else ():
            if (table, stray.name) not in known:
                report.findings.append(Finding(f"{table}/{stray.name}", "no commit names this file", lost=False))


def _check_journal(folder: RunFolder, report: Report) -> None:
    segments = list_segments(folder.journal)
    for segment in segments.paths:
        try:
            scan = scan_segment(segment)
            for _ in scan:
                report.journal_frames += 1
            report.torn_bytes += scan.end.torn_bytes if scan.end else 0
        except StorageError as error:
            report.findings.append(Finding(f"_journal/{segment.name}", error.message))


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
        target.chmod(0o600)
    except OSError as error:
        raise StorageError(f"{target}: cannot copy {source}: {error.strerror or error}") from error
    sync_file(target)


def _recount(target: RunFolder, files: list[CommittedFile]) -> Totals:
    """Count the totals anew out of the copied tables, still in staging: damaged commits may have held them."""
    totals = Totals()
    for file in files:
        path = staged_path(target, 1, file.folder, file.name)
        if file.folder == "responses":
            for batch in read_row_groups(path, ["status"]):
                totals.by_status.update(batch.column("status").to_pylist())
        elif file.folder == "attempts":
            _count_attempts(totals, path)
        elif file.folder == "_commits":
            totals.requests += file.rows
    return totals


def _count_attempts(totals: Totals, path: Path) -> None:
    names = [
        "attempt",
        "http_status",
        "error_kind",
        "latency_s",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cost_usd",
    ]
    for batch in read_row_groups(path, names):
        latencies: list[float] = []
        for number, status, kind, latency_s, prompt, completion, total, cost in zip(
            *(batch.column(name).to_pylist() for name in names), strict=True
        ):
            totals.http_requests += 1
            totals.retries += number > 1
            totals.rate_limited += status == 429  # noqa: PLR2004 - Too Many Requests
            if kind is None:
                latencies.append(latency_s)
                totals.priced += cost is not None
                totals.unpriced += cost is None
            totals.prompt_tokens += prompt or 0
            totals.completion_tokens += completion or 0
            totals.total_tokens += total or 0
            totals.cost_usd += cost or 0.0
        totals.add_latencies(latencies)


def _places_of(folder: RunFolder, log: CommitLog, parts: set[str]) -> set[tuple[bytes, int]]:
    places: set[tuple[bytes, int]] = set()
    for part in sorted(parts):
        index = (
            read_index(_source(folder, log, log.files["_commits", index_name(part)])) if part != part_name(0) else ()
        )
        places.update(place_of(entry) for entry in index)
    return places


def _journal_again(
    target: RunFolder, tables: tuple[Path, Path | None], seen: set[tuple[bytes, int]], place: tuple[int, str]
) -> None:
    """Put a part's raw bodies and earlier attempts back into a segment, from which recovery seals them.

    Requests whose places are in `seen` stand elsewhere already: an answer replaced them. A failure that came when its
    rows had an answer, or a failure, is left out: what it was to replace may stand, and then it replaced nothing.
    """
    raw, attempts = tables
    writer = SegmentWriter.open(target.journal, SegmentHeader(run_id=place[1], segment=place[0], manifest=""))
    last: set[tuple[str, int]] = set()
    own: set[tuple[bytes, int]] = set()
    for batch in read_row_groups(raw):
        columns = (batch.column(name).to_pylist() for name in ("meta", "request", "response"))
        for meta, request, response in zip(*columns, strict=True):
            ended = read_meta(meta)
            if ended.failure and ended.replaces:
                continue
            last.add((ended.key, ended.last[1]))
            part = part_of(ended)
            choices = range(part.first, part.first + part.choices) if part.of else (0,)
            places = {(bytes.fromhex(key), choice) for key in case_keys(ended.cases) for choice in choices}
            if places <= seen:
                continue
            own |= places  # a later answer to the same request may follow, and replaces this one
            kind = FrameType.FAILURE if ended.failure else FrameType.ANSWER
            writer.append(kind, *join_parts(meta, request, response or b""))
        writer.commit()
    seen |= own
    for attempt, session, server in _earlier_attempts(attempts, last):
        writer.append(FrameType.ATTEMPT, encode_attempt(attempt, session, server))
    writer.commit()
    writer.close()


def _earlier_attempts(path: Path | None, last: set[tuple[str, int]]) -> Iterator[tuple[Attempt, int, str]]:
    for batch in read_row_groups(path) if path is not None and path.exists() else ():
        for row in batch.to_pylist():
            if (row["request_key"], row["attempt"]) not in last:
                attempt = Attempt(
                    request_key=bytes.fromhex(row["request_key"]),
                    number=row["attempt"],
                    n_samples=row["n_samples"],
                    started_at=row["started_at"].timestamp(),
                    latency_s=row["latency_s"],
                    http_status=row["http_status"],
                    error_kind=row["error_kind"],
                    retry_after_s=row["retry_after_s"],
                    request_id=row["request_id"],
                )
                yield attempt, row["session"], row["server"]


def _salvage_segment(segment: Path, target: RunFolder, number: int, run_id: str) -> int:
    try:
        frames = salvage_segment(segment)
    except StorageError:
        return number  # not even its header can be read; verify names it
    writer = SegmentWriter.open(target.journal, SegmentHeader(run_id=run_id, segment=number, manifest=""))
    for frame in frames:
        if frame.kind in _RECORDS:
            writer.append(frame.kind, bytes(frame.payload))
    writer.commit()
    writer.close()
    return number + 1
