from __future__ import annotations

import contextlib
import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from runner import durable
from runner.errors import StorageError
from runner.folder.layout import RunFolder
from runner.journal import FrameType, scan_segment
from runner.pipeline.sending.groupcommit import JournalWriter
from runner.pipeline.storing.codec import Start, decode_starts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from anyio.streams.memory import MemoryObjectReceiveStream

RUN = "20261122T014500Z-0a1b"


class Disk:
    """The disk under the journal: counts its syncs, and is full or broken when told so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.broken = False
        self.syncs = 0
        self._write, self._sync = durable.write_all, durable.sync_data
        patch.setattr(durable, "write_all", self.write)
        patch.setattr(durable, "sync_data", self.sync)

    def write(self, descriptor: int, data: bytes) -> None:
        if self.full:
            self._write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        self._write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        self._sync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr("runner.pipeline.sending.groupcommit._SPACE_WAIT_S", 0.0)
    return Disk(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path)
    made.journal.mkdir()
    return made


@asynccontextmanager
async def writing(
    folder: RunFolder, slots: int = 1
) -> AsyncIterator[tuple[JournalWriter, MemoryObjectReceiveStream[Any]]]:
    """Open a journal, commit beside the block, and finish it."""
    to_seal, sealable = anyio.create_memory_object_stream[Any](100)
    with to_seal, sealable:
        writer = JournalWriter(folder, RUN, "digest", 1, to_seal)
        writer.slots = slots
        await writer.open()
        async with anyio.create_task_group() as group:
            group.start_soon(writer.serve)
            yield writer, sealable
            group.cancel_scope.cancel()
        await writer.finish()


def answers(folder: RunFolder) -> list[bytes]:
    """Return the payloads of all answers, over all segments."""
    return [
        bytes(frame.payload)
        for path in sorted(folder.journal.iterdir())
        for frame in scan_segment(path, run_id=RUN)
        if frame.kind == FrameType.ANSWER
    ]


@pytest.mark.asyncio
async def test_what_is_stored_is_on_disk_on_return(folder: RunFolder, disk: Disk) -> None:
    async with writing(folder) as (writer, sealable):
        for number in range(3):
            before = disk.syncs
            await writer.store(b"k", FrameType.ANSWER, b"answer ", b"%d" % number)
            assert disk.syncs > before
            assert answers(folder)[-1] == b"answer %d" % number
        assert writer.failure is None
        assert sealable.statistics().current_buffer_used == 0
    assert answers(folder) == [b"answer 0", b"answer 1", b"answer 2"]


@pytest.mark.asyncio
async def test_a_finished_journal_hands_on_its_segment_and_takes_no_more(folder: RunFolder, disk: Disk) -> None:
    async with writing(folder) as (writer, sealable):
        await writer.store(b"k", FrameType.ANSWER, b"a")
        receiver = sealable.clone()
    with receiver:
        assert receiver.receive_nowait() == folder.segment(1)
    with pytest.raises(StorageError):
        await writer.store(b"k", FrameType.ANSWER, b"b")
    assert disk.syncs > 0


@pytest.mark.asyncio
async def test_workers_that_all_wait_share_one_sync(folder: RunFolder, disk: Disk) -> None:
    async with writing(folder, slots=50) as (writer, _):
        await wait_all_tasks_blocked()
        before = disk.syncs
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(writer.store, b"k", FrameType.ANSWER, b"%02d" % number)
        assert disk.syncs - before <= 2
    assert sorted(answers(folder)) == [b"%02d" % number for number in range(50)]


@pytest.mark.asyncio
async def test_on_a_full_disk_the_frames_are_kept_and_written_once_there_is_space(
    folder: RunFolder, disk: Disk
) -> None:
    async with writing(folder) as (writer, _):
        await writer.store(b"a", FrameType.ANSWER, b"before")
        disk.full = True
        with pytest.raises(StorageError, match="the disk is full") as caught:
            await writer.store(b"b", FrameType.ANSWER, b"while it is full")
        assert caught.value.exit_code == 74
        assert writer.failure is not None
        assert answers(folder) == [b"before"]
        disk.full = False
    assert answers(folder) == [b"before", b"while it is full"]
    assert writer.failure is not None, "the run ends as one that met a full disk"
    assert "could not be written" not in writer.failure.message


@pytest.mark.asyncio
async def test_what_comes_after_a_full_disk_is_kept_too_and_in_order(folder: RunFolder, disk: Disk) -> None:
    async with writing(folder) as (writer, _):
        disk.full = True
        with pytest.raises(StorageError):
            await writer.store(b"a", FrameType.ANSWER, b"first")
        disk.full = False
        with contextlib.suppress(StorageError):  # the run stops; whether this is said now or at its end is open
            await writer.store(b"b", FrameType.ANSWER, b"under way")
        assert writer.failure is not None
    assert answers(folder) == [b"first", b"under way"]


@pytest.mark.asyncio
async def test_a_disk_that_stays_full_says_how_much_is_lost(folder: RunFolder, disk: Disk) -> None:
    async with writing(folder) as (writer, sealable):
        disk.full = True
        with pytest.raises(StorageError):
            await writer.store(b"a", FrameType.ANSWER, b"lost")
        receiver = sealable.clone()
    assert writer.failure is not None
    assert "1 frames in memory could not be written" in writer.failure.message
    with receiver:
        assert receiver.receive_nowait() == folder.segment(1)
    disk.full = False
    assert answers(folder) == []


@pytest.mark.asyncio
async def test_a_failed_sync_is_never_tried_again(folder: RunFolder, disk: Disk) -> None:
    async with writing(folder) as (writer, _):
        disk.broken = True
        with pytest.raises(StorageError, match="sync"):
            await writer.store(b"a", FrameType.ANSWER, b"unknown")
        after = disk.syncs
        disk.broken = False
        with pytest.raises(StorageError):
            await writer.store(b"b", FrameType.ANSWER, b"refused")
    assert disk.syncs == after
    assert writer.failure is not None


@pytest.mark.asyncio
async def test_a_full_segment_is_closed_and_handed_on_while_the_run_goes_on(
    folder: RunFolder, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.pipeline.sending.groupcommit._SEGMENT_BYTES", 6000)
    async with writing(folder) as (writer, sealable):
        for number in range(9):
            await writer.store(b"k", FrameType.ANSWER, b"%d" % number * 1000)
        receiver = sealable.clone()
    with receiver:
        handed_on = [receiver.receive_nowait() for _ in range(receiver.statistics().current_buffer_used)]
    assert handed_on == [folder.segment(number + 1) for number in range(len(handed_on))]
    assert len(handed_on) >= 2
    assert [payload[:1] for payload in answers(folder)] == [b"%d" % number for number in range(9)]
    assert disk.syncs >= 9


@pytest.mark.asyncio
async def test_a_worker_does_not_wait_for_a_group_that_never_comes(folder: RunFolder, disk: Disk) -> None:
    to_seal, sealable = anyio.create_memory_object_stream[Any](10)
    with to_seal, sealable:
        writer = JournalWriter(folder, RUN, "digest", 1, to_seal)
        writer.slots = 2
        await writer.open()
        async with anyio.create_task_group() as group:
            group.start_soon(writer.serve)
            await wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        with pytest.raises(StorageError, match="ended"):
            await writer.store(b"k", FrameType.ANSWER, b"late")
        await writer.finish()
    assert answers(folder) == [b"late"], "what was appended is written all the same"
    assert disk.syncs > 0


def starts(path: Path) -> list[Start]:
    """Return the starts that a segment holds, in order."""
    frames = scan_segment(path, run_id=RUN)
    return [start for frame in frames if frame.kind == FrameType.START for start in decode_starts(frame.payload)]


@pytest.mark.asyncio
async def test_a_start_that_is_kept_is_on_disk_on_return(folder: RunFolder, disk: Disk) -> None:
    start = Start(b"k" * 16, 2, 1.5, 300, 0.25)
    async with writing(folder) as (writer, _):
        before = disk.syncs
        await writer.keep_start(start)
        assert disk.syncs > before
        assert starts(folder.segment(1)) == [start]
        disk.full = True
        with pytest.raises(StorageError):
            await writer.keep_start(start)
        disk.full = False


@pytest.mark.asyncio
async def test_what_is_owed_is_in_the_next_segment_before_the_last_one_is_handed_on(
    folder: RunFolder, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.pipeline.sending.groupcommit._SEGMENT_BYTES", 6000)
    owed, ended = Start(b"o" * 16, 1, 1.5, 300, 0.25), Start(b"e" * 16, 1, 1.5, 700, 0.5)
    async with writing(folder) as (writer, sealable):
        await writer.keep_start(owed)
        await writer.keep_start(ended)
        await writer.store(ended.key, FrameType.ANSWER, b"a" * 6000)
        assert await sealable.receive() == folder.segment(1)
        assert starts(folder.segment(2)) == [owed]
    assert disk.syncs > 0
