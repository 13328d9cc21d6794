"""Measures how fast frames become durable, against writing the same bytes with as many fdatasyncs on the same disk."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median

from support.options import Size, read_options
from support.results import Result, ratio, report, say

from runner.journal import FrameType, SegmentHeader, SegmentWriter

_TARGET = "≤ 2.0 in groups of 256"
_PAYLOAD_BYTES = 1_200
_PAIRS = 5
# Frames in a group, and how many groups are written each time.
_GROUPS = {
    Size.SMALL: {256: 20, 64: 20, 1: 20},
    Size.DEFAULT: {256: 200, 64: 200, 1: 200},
    Size.FULL: {256: 1_000, 64: 1_000, 1: 1_000},
}


def main() -> None:
    """Measure groups of 256, 64 and 1 frames."""
    options = read_options(__doc__ or "")
    results = []
    with options.scratch() as scratch:
        for frames, groups in _GROUPS[options.size].items():
            say(f"journal_rate: {groups} groups of {frames}")
            results.append(_measure(Path(scratch), frames, groups))
    report(results, as_json=options.as_json)


def _measure(folder: Path, frames: int, groups: int) -> Result:
    ours, peers = [], []
    for _ in range(_PAIRS):
        seconds, written = _through_journal(folder, frames, groups)
        ours.append(seconds)
        peers.append(_bare(folder / "bare", written // groups // frames, frames, groups))
    total = frames * groups
    return Result(
        f"journal frames per second, groups of {frames}",
        f"{total / median(ours):,.0f}",
        f"{total / median(peers):,.0f}",
        ratio(ours, peers),
        _TARGET,
    )


def _through_journal(folder: Path, frames: int, groups: int) -> tuple[float, int]:
    """Return the seconds from the first frame to the last sync, and the bytes of the file."""
    payload = os.urandom(_PAYLOAD_BYTES)
    writer = SegmentWriter.open(folder, SegmentHeader(run_id="benchmark", segment=1, manifest="none"))
    begun = time.perf_counter()
    for _ in range(groups):
        for _ in range(frames):
            writer.append(FrameType.ANSWER, payload)
        writer.commit()
    seconds = time.perf_counter() - begun
    writer.close()
    writer.path.unlink()
    return seconds, writer.size_bytes


def _bare(path: Path, frame_bytes: int, frames: int, groups: int) -> float:
    """Return the seconds that joining, writing and syncing as many frames of the same size takes."""
    frame = os.urandom(frame_bytes)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    begun = time.perf_counter()
    for _ in range(groups):
        group = []
        for _ in range(frames):
            group.append(frame)  # noqa: PERF401 - frames come one by one
        os.write(descriptor, b"".join(group))
        os.fdatasync(descriptor)
    seconds = time.perf_counter() - begun
    os.close(descriptor)
    path.unlink()
    return seconds


if __name__ == "__main__":
    main()
