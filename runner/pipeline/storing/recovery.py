"""Owns what comes first on an existing run: finishing what a crash cut off. No command is needed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.crash_points import crash_point
from runner.durable import remove
from runner.folder.totals import Totals
from runner.journal import FrameType, list_segments, scan_segment
from runner.pipeline.storing.codec import decode_attempt, decode_starts, read_meta, split_payload
from runner.pipeline.storing.sealing import seal_segment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runner.folder.commits import CommitLog
    from runner.folder.layout import RunFolder
    from runner.pipeline.storing.codec import Start
    from runner.pipeline.storing.plan import Sealing


def recover(sealing: Sealing, log: CommitLog) -> int:
    """Apply the last commit, throw away what no commit names, and seal every segment left in the journal.

    Idempotent, so it may itself be killed at any instant. A torn tail is dropped silently (it was never acknowledged).
    Returns how many requests may have been billed without an answer. Raises DamagedError, StorageError.
    """
    log.apply_last()
    crash_point("recovery:after-apply")
    for path in sorted(log.folder.staging.iterdir()):
        remove(path)
    left = [path for path in list_segments(log.folder.journal).paths if int(path.stem) not in log.sealed_segments]
    owed = _count_owed(left)
    crash_point("recovery:before-sealing")
    for path in list_segments(log.folder.journal).paths:
        seal_segment(sealing, log, path, owed if left and path == left[-1] else None)
    return owed.possibly_billed


def next_segment(folder: RunFolder, log: CommitLog) -> int:
    """Return the number of the next journal segment; numbers are never used twice."""
    used = {int(path.stem) for path in list_segments(folder.journal).paths} | log.sealed_segments
    return max(used, default=0) + 1


def _count_owed(segments: Sequence[Path]) -> Totals:
    """Count the attempts that were started and never ended: the server may have answered, and billed, nobody.

    The budget is charged the most that each may have taken. A group's starts may stand behind its answers, so the two
    are collected first and compared then.
    """
    started: dict[tuple[bytes, int], Start] = {}
    ended: set[tuple[bytes, int]] = set()
    for path in segments:
        for frame in scan_segment(path):
            if frame.kind == FrameType.START:
                started.update({(start.key, start.attempt): start for start in decode_starts(frame.payload)})
            elif frame.kind == FrameType.ATTEMPT:
                attempt = decode_attempt(frame.payload)[0]
                ended.add((attempt.request_key, attempt.number))
            elif frame.kind in {FrameType.ANSWER, FrameType.FAILURE}:
                meta = read_meta(split_payload(frame.payload)[0])
                ended.add((bytes.fromhex(meta.key), meta.attempts))
    owed = [start for place, start in started.items() if place not in ended]
    return Totals(
        possibly_billed=len(owed),
        charged_tokens=sum(start.tokens for start in owed),
        charged_usd=sum(start.usd for start in owed),
    )
