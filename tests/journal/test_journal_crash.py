"""Shows that after a power loss, whatever part of the unsynced writes it took, every acknowledged frame is there."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from runner.errors import StorageError
from runner.journal import FrameType, SegmentHeader, SegmentWriter, repair_tail, salvage_segment, scan_segment
from runner.journal.frames import Salt

if TYPE_CHECKING:
    from pathlib import Path

WORKLOADS = 20
STATES = 100


@dataclass(frozen=True)
class Write:
    """Bytes written at an offset, not durable before the next sync."""

    offset: int
    content: bytes


@dataclass(frozen=True)
class Cut:
    """The file cut to a size, not durable before the next sync."""

    size: int


@dataclass(frozen=True)
class Synced:
    """All before is durable."""


@dataclass(frozen=True)
class Acknowledged:
    """The caller was told that this many frames are durable."""

    frames: int


Operation = Write | Cut | Synced | Acknowledged


@dataclass
class Disk:
    """Writes down what the writer asks of the system; unless it is sound, it now and then fails a call."""

    rng: random.Random
    log: list[Operation] = field(default_factory=list)
    size: int = 0
    sound: bool = True

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(os, "write", self.write)
        patch.setattr(os, "ftruncate", self.truncate)
        patch.setattr(os, "fdatasync", lambda _: self.log.append(Synced()))

    def write(self, _: int, content: bytes) -> int:
        content = bytes(content)
        if not self.sound and self.rng.random() < 0.1:
            raise OSError(errno.ENOSPC, "full")
        if self.rng.random() < 0.2:
            content = content[: self.rng.randint(1, len(content))]
        self.log.append(Write(self.size, content))
        self.size += len(content)
        return len(content)

    def truncate(self, _: int, size: int) -> None:
        if self.rng.random() < 0.2:
            raise OSError(errno.EIO, "no")
        self.log.append(Cut(size))
        self.size = size


def run_workload(folder: Path, rng: random.Random) -> tuple[list[bytes], list[Operation]]:
    """Return the payloads in the order in which they were appended, and what the disk was asked."""
    disk, sent = Disk(rng), []
    with pytest.MonkeyPatch.context() as patch:
        disk.patch(patch)
        writer = SegmentWriter.open(
            folder, SegmentHeader("run", 1, "beef"), salt=Salt(b"\xffabc", rng.randrange(2**32))
        )
        disk.sound = False
        for _ in range(12):
            for _ in range(rng.randint(1, 6)):
                sent.append(rng.randbytes(rng.randint(0, 150)))
                writer.append(FrameType.ANSWER, sent[-1])
            try:
                writer.commit()
            except StorageError:
                continue
            disk.log.append(Acknowledged(writer.frames))
    writer.close()
    writer.path.unlink()
    return sent, disk.log


def crashed_state(log: list[Operation], rng: random.Random) -> bytes:
    """Return what a disk may hold if the power goes after `log`: any set of the blocks that were not synced yet."""
    durable_end = max((n for n, operation in enumerate(log) if isinstance(operation, Synced)), default=0)
    content = bytearray()
    for operation in log[:durable_end]:
        if isinstance(operation, Cut):
            del content[operation.size :]
        elif isinstance(operation, Write):
            content[operation.offset :] = operation.content
    block_bytes, kept, grows = rng.choice([16, 64, 512]), rng.choice([0.0, 0.3, 0.7, 0.95]), rng.random()
    for operation in log[durable_end:]:
        if isinstance(operation, Cut) and rng.random() < kept:
            del content[operation.size :]
        elif isinstance(operation, Write):
            for start, end in blocks(operation, block_bytes):
                if rng.random() < kept:
                    content.extend(bytes(max(0, end - len(content))))
                    content[start:end] = operation.content[start - operation.offset : end - operation.offset]
                elif rng.random() < grows:  # the new size made it, the block did not
                    content.extend(bytes(max(0, end - len(content))))
    return bytes(content)


def blocks(write: Write, block_bytes: int) -> list[tuple[int, int]]:
    """Cut a write where the file's blocks end."""
    last = write.offset + len(write.content)
    edges = [write.offset, *range(write.offset // block_bytes * block_bytes + block_bytes, last, block_bytes), last]
    return list(pairwise(edges))


def test_no_crash_takes_an_acknowledged_frame_or_needs_a_command_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    path = tmp_path / "crashed" / "000001.journal"
    path.parent.mkdir()
    torn = with_holes = full = 0
    for seed in range(WORKLOADS):
        rng = random.Random(seed)  # noqa: S311 - a test that fails must fail again
        sent, log = run_workload(tmp_path, rng)
        for _ in range(STATES):
            instant = rng.randint(1, len(log))
            path.write_bytes(crashed_state(log[:instant], rng))
            acknowledged = max((o.frames for o in log[:instant] if isinstance(o, Acknowledged)), default=0)

            scan = scan_segment(path, run_id="run")
            found = [frame.payload for frame in scan]

            assert found == sent[: len(found)]
            assert len(found) >= acknowledged
            assert scan.end is not None
            torn += scan.end.torn_bytes > 0
            with_holes += len(list(salvage_segment(path))) > len(found)
            full += len(found) == len(sent)
            repair_tail(path, scan.end.good_bytes)
            again = scan_segment(path)
            assert [frame.payload for frame in again] == found
            assert again.end is not None
            assert again.end.torn_bytes == 0
    # The states are worth something only if they hold what is hard: torn tails, and sound frames behind holes.
    assert torn > 300
    assert with_holes > 50
    assert full > 20


def test_without_its_syncs_the_journal_would_not_survive_these_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    path = tmp_path / "crashed" / "000001.journal"
    path.parent.mkdir()
    lost = 0
    rng = random.Random(1)  # noqa: S311 - a test that fails must fail again
    sent, log = run_workload(tmp_path, rng)
    header_synced = log.index(Synced())
    unsynced = [o for n, o in enumerate(log) if n <= header_synced or not isinstance(o, Synced)]
    for _ in range(STATES):
        path.write_bytes(crashed_state(unsynced, rng))
        try:
            lost += len(list(scan_segment(path))) < len(sent)
        except StorageError:
            lost += 1
    assert lost > STATES // 2
