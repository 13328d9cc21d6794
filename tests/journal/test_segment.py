"""Shows that a commit makes durable what it says, and what becomes of frames when a write or a sync fails."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runner
from runner import durable
from runner.errors import CannotCreateError, StorageError
from runner.journal import Committed, FrameType, SegmentWriter, scan_segment, segment, segment_path
from runner.journal.header import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType as StackFrame

    from runner.journal import SegmentHeader


@pytest.fixture
def writer(tmp_path: Path, header: SegmentHeader) -> Iterator[SegmentWriter]:
    writer = SegmentWriter.open(tmp_path, header)
    yield writer
    writer.close()


def payloads(path: Path) -> list[bytes]:
    return [frame.payload for frame in scan_segment(path)]


def fail(code: int) -> Callable[..., int]:
    def failing(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return failing


def test_opening_makes_an_empty_private_segment_that_can_be_read(writer: SegmentWriter, header: SegmentHeader) -> None:
    scan = scan_segment(writer.path, run_id=header.run_id)
    assert list(scan) == []
    assert scan.header == header
    assert scan.end is not None
    assert (scan.end.frames, scan.end.good_bytes, scan.end.torn_bytes) == (0, HEADER_BYTES, 0)
    assert writer.path.name == "000001.journal"
    assert writer.path.stat().st_mode & 0o777 == 0o600


def test_a_segment_that_exists_is_never_written_over(writer: SegmentWriter, header: SegmentHeader) -> None:
    with pytest.raises(CannotCreateError, match=r"000001\.journal: File exists"):
        SegmentWriter.open(writer.path.parent, header)


def test_what_was_appended_is_in_memory_only_until_it_is_committed(writer: SegmentWriter) -> None:
    size = writer.append(FrameType.START, b"one", b"-", b"1") + writer.append(FrameType.ANSWER, b"two")
    assert (writer.frames, writer.pending_frames) == (0, 2)
    assert (writer.size_bytes, payloads(writer.path)) == (HEADER_BYTES, [])
    assert writer.commit() == Committed(frames=2, bytes=size)
    assert (writer.frames, writer.pending_frames) == (2, 0)
    assert payloads(writer.path) == [b"one-1", b"two"]
    assert writer.size_bytes == writer.path.stat().st_size


def test_an_empty_commit_writes_and_syncs_nothing(writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", fail(errno.EIO))
    monkeypatch.setattr(os, "fdatasync", fail(errno.EIO))
    assert writer.commit() == Committed(0, 0)


def test_a_group_larger_than_one_write_is_written_whole(writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "_WRITE_BYTES", 100)
    sent = [bytes([n]) * n * 3 for n in range(60)]
    for payload in sent:
        writer.append(FrameType.ANSWER, payload)
    writer.commit()
    assert payloads(writer.path) == sent


def test_frames_appended_while_a_commit_runs_belong_to_the_next_group(
    writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append_then_sync(descriptor: int) -> None:
        if writer.frames == 0:
            writer.append(FrameType.ANSWER, b"late")
        os.fsync(descriptor)

    writer.append(FrameType.ANSWER, b"early")
    monkeypatch.setattr(durable, "sync_data", append_then_sync)
    assert writer.commit().frames == 1
    assert (writer.pending_frames, payloads(writer.path)) == (1, [b"early"])
    assert writer.commit().frames == 1
    assert payloads(writer.path) == [b"early", b"late"]


@pytest.mark.parametrize(("interrupted", "other"), [("commit", "append"), ("append", "commit")])
def test_either_side_may_run_between_any_two_bytecodes_of_the_other(
    writer: SegmentWriter, interrupted: str, other: str
) -> None:
    """What a switch of threads can do, at every place where one can happen."""
    sent: list[bytes] = []

    def append() -> None:
        sent.append(len(sent).to_bytes(4, "big"))
        writer.append(FrameType.ANSWER, sent[-1])

    act = {"append": append, "commit": writer.commit}[other]
    code = getattr(SegmentWriter, interrupted).__code__
    switches = 0

    def trace(frame: StackFrame, event: str, _: object) -> object:
        nonlocal switches
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            switches += 1
            act()  # not traced itself
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in range(3):
            append()
        writer.commit()
    finally:
        sys.settrace(before)
    writer.commit()
    assert switches > 50
    assert payloads(writer.path) == sent
    assert writer.pending_frames == 0


def test_appending_and_committing_in_two_threads_loses_and_reorders_nothing(
    writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "sync_data", lambda _: None)
    appended_all = threading.Event()

    def commit_until_all_is_in() -> None:
        while not appended_all.is_set():
            writer.commit()

    committing = threading.Thread(target=commit_until_all_is_in)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        committing.start()
        for n in range(10_000):
            writer.append(FrameType.START, n.to_bytes(4, "big"))
    finally:
        appended_all.set()
        committing.join()
        sys.setswitchinterval(interval)
    writer.commit()
    assert payloads(writer.path) == [n.to_bytes(4, "big") for n in range(10_000)]


def test_a_full_disk_cuts_the_file_back_and_keeps_the_frames_in_order(
    writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(FrameType.ANSWER, b"acknowledged")
    writer.commit()
    sound = writer.path.read_bytes()
    for payload in (b"one", b"two"):
        writer.append(FrameType.ANSWER, payload)
    with monkeypatch.context() as full:
        real_write = os.write
        full.setattr(os, "write", lambda fd, data: real_write(fd, data[:7]) if len(data) > 30 else fail(errno.ENOSPC)())
        with pytest.raises(StorageError, match=r"000001\.journal: the disk is full; what was acknowledged") as caught:
            writer.commit()
    assert "free some space" in caught.value.hint
    assert writer.path.read_bytes() == sound
    assert (writer.frames, writer.pending_frames) == (1, 2)
    writer.append(FrameType.ANSWER, b"three")
    assert writer.commit().frames == 3
    assert payloads(writer.path) == [b"acknowledged", b"one", b"two", b"three"]


def test_a_cut_that_fails_is_made_good_before_the_next_write(
    writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(FrameType.ANSWER, b"x" * 50)
    with monkeypatch.context() as broken:
        real_write = os.write
        broken.setattr(os, "write", lambda fd, data: real_write(fd, data[:7]) if len(data) > 60 else fail(errno.EIO)())
        broken.setattr(os, "ftruncate", fail(errno.EIO))
        with pytest.raises(StorageError, match="Input/output error"):
            writer.commit()
        assert writer.path.stat().st_size == HEADER_BYTES + 7
        with pytest.raises(StorageError, match="Input/output error"):
            writer.commit()
    writer.commit()
    assert payloads(writer.path) == [b"x" * 50]


def test_an_interruption_in_the_middle_of_a_write_loses_no_frame(
    writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(FrameType.ANSWER, b"x" * 50)
    with monkeypatch.context() as interrupted:
        real_write = os.write

        def write_and_stop(descriptor: int, data: bytes) -> int:
            real_write(descriptor, data[:9])
            raise MemoryError

        interrupted.setattr(os, "write", write_and_stop)
        with pytest.raises(MemoryError):
            writer.commit()
    assert writer.commit().frames == 1
    assert payloads(writer.path) == [b"x" * 50]


def test_a_write_that_takes_nothing_is_an_error_and_no_endless_loop(
    writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(FrameType.ANSWER, b"x")
    monkeypatch.setattr(os, "write", lambda *_: 0)
    with pytest.raises(StorageError, match="Input/output error"):
        writer.commit()


def test_a_failed_sync_breaks_the_writer_for_good_and_is_never_tried_again(
    writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = []

    def sync(descriptor: int) -> None:
        syncs.append(descriptor)
        fail(errno.EIO)()

    writer.append(FrameType.ANSWER, b"x")
    monkeypatch.setattr(os, "fdatasync", sync)
    for call in (writer.commit, writer.commit, lambda: writer.append(FrameType.ANSWER, b"y")):
        with pytest.raises(StorageError, match=r"cannot sync .*Input/output error.*is unknown"):
            call()
    assert len(syncs) == 1
    assert writer.frames == 0


def test_a_mark_that_does_not_fit_takes_nothing_from_the_commit(
    writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(FrameType.ANSWER, b"a" * 40)
    with monkeypatch.context() as full:
        real_write = os.write
        full.setattr(os, "write", lambda fd, data: real_write(fd, data) if len(data) > 40 else fail(errno.ENOSPC)())
        assert writer.commit().frames == 1
    assert payloads(writer.path) == [b"a" * 40]
    writer.append(FrameType.ANSWER, b"b")
    writer.commit()
    assert payloads(writer.path) == [b"a" * 40, b"b"]


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
def test_a_header_that_cannot_be_made_durable_leaves_no_file(
    tmp_path: Path, header: SegmentHeader, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail(errno.EIO))
        with pytest.raises(StorageError, match="Input/output error"):
            SegmentWriter.open(tmp_path, header)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_writer_says_so_and_may_be_closed_again(writer: SegmentWriter) -> None:
    writer.close()
    writer.close()
    with pytest.raises(StorageError, match="is closed"):
        writer.append(FrameType.NOTE)
    with pytest.raises(StorageError, match="is closed"):
        writer.commit()


def test_segments_have_numbers_for_names(tmp_path: Path) -> None:
    assert segment_path(tmp_path, 12) == tmp_path / "000012.journal"
    assert segment_path(tmp_path, 1_234_567) == tmp_path / "1234567.journal"


# The kernel's own full disk: with a limit on the size of files the last write is short and the next one fails.
FULL_DISK = """
import json, os, resource, sys
from pathlib import Path
from runner.errors import StorageError
from runner.journal import FrameType, SegmentHeader, SegmentWriter, scan_segment

folder, outcomes = Path(sys.argv[1]), []
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for number, room in enumerate(range(0, 1400, 9), 1):
    writer = SegmentWriter.open(folder, SegmentHeader("run", number, ""))
    limit = writer.size_bytes + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    sent, failures = [], 0
    for group in range(6):
        for n in range(3):
            sent.append(bytes([group, n]) * 25)
            writer.append(FrameType.ANSWER, sent[-1])
        try:
            writer.commit()
        except StorageError as error:
            assert "the disk is full" in error.message, error.message
            failures += 1
            assert writer.path.stat().st_size == writer.size_bytes <= limit
        acknowledged = [frame.payload for frame in scan_segment(writer.path)]
        assert acknowledged == sent[: writer.frames], (room, group)
        assert writer.frames + writer.pending_frames == len(sent)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    writer.commit()
    writer.close()
    assert [frame.payload for frame in scan_segment(writer.path)] == sent
    outcomes.append(failures)
print(json.dumps(outcomes))
"""


def test_the_kernels_own_full_disk_at_every_fill_level(tmp_path: Path) -> None:
    source = Path(runner.__file__).parents[1]
    finished = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    outcomes = json.loads(finished.stdout)
    assert set(outcomes) == {0, 1, 2, 3, 4, 5, 6}
