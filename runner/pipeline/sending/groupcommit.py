"""Owns the one writer of the journal: frames from all workers, made durable in groups, segments handed on to sealing.

A worker appends a frame and waits; a group is written and synced when it holds 256 frames, when every slot waits, or
after a few milliseconds. The time is short because a waiting worker holds its slot: at 5 ms even a server that answers
at once is not slowed down noticeably, and a sync for every 5 ms costs little.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runner.errors import RunnerError, StorageError
from runner.journal import FrameType, SegmentHeader, SegmentWriter
from runner.pipeline.storing.codec import encode_start

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.streams.memory import MemoryObjectSendStream

    from runner.folder.layout import RunFolder
    from runner.pipeline.storing.codec import Start

_GROUP_FRAMES = 256
_LINGER_S = 0.005
_SEGMENT_BYTES = 32 * 1024 * 1024
# A slow run still shows its rows: a segment is sealed after this time, or after 5 % of the session if that is longer,
# so that a run of any length ends with tens of parts and not with thousands.
_SEGMENT_AGE_S = 60.0
_SEGMENT_AGE_SHARE = 0.05
_SPACE_TRIES = 5
_SPACE_WAIT_S = 1.0


@dataclass(slots=True)
class _Group:
    """Frames that become durable together; `failed` says why they did not.

    Each worker waits for a future of its own. An event does the same in three times as many calls, and every answer is
    waited for here.
    """

    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    failed: StorageError | None = None

    def end(self) -> None:
        """Let everybody go on."""
        for one in self.waiting:
            if not one.done():  # else its worker was cancelled
                one.set_result(None)


class JournalWriter:
    """Appends frames and makes them durable. `failure` is set once the disk refused; then nothing more is accepted."""

    def __init__(
        self, folder: RunFolder, run_id: str, manifest: str, first_segment: int, sealed: MemoryObjectSendStream[Path]
    ) -> None:
        self._folder = folder
        self._run_id = run_id
        self._manifest = manifest
        self._number = first_segment
        self._sealed = sealed
        self._segment: SegmentWriter | None = None
        self._loop = asyncio.get_running_loop()
        self._group = _Group()
        self._wake = anyio.Event()
        self._full = anyio.Event()
        self._committing = anyio.Lock()
        self._begun = self._opened = time.monotonic()
        self._owed: dict[bytes, Start] = {}
        self._starts = bytearray()
        self._records = 0
        self._ended = False
        self._stuck: StorageError | None = None
        self.slots = 1
        self.failure: StorageError | None = None

    async def open(self) -> None:
        """Open the first segment. Raises CannotCreateError, StorageError."""
        self._segment = await anyio.to_thread.run_sync(self._open_segment, self._number)

    def note_start(self, start: Start) -> None:
        """Note that a request goes out; not waited for, where it only serves to say what may have been billed."""
        self._owed[start.key] = start
        self._starts += encode_start(start)
        self._wake.set()

    async def keep_start(self, start: Start) -> None:
        """Note that a request goes out and return when that is durable. Raises StorageError."""
        self.note_start(start)
        await self._durable()

    def note_attempt(self, key: bytes, payload: bytes) -> None:
        """Note an attempt that did not end its request; not waited for."""
        self._owed.pop(key, None)
        self._append(FrameType.ATTEMPT, payload)

    def note_skipped(self, payload: bytes) -> None:
        """Note a dataset row that is left out; not waited for, since reading the dataset again finds it again."""
        self._append(FrameType.SKIPPED, payload)
        self._records += 1
        self._wake.set()

    async def store(self, key: bytes, kind: FrameType, *parts: bytes) -> None:
        """Append a frame and return when it is durable. Raises StorageError; the frame is then kept in memory."""
        self._owed.pop(key, None)
        self._append(kind, *parts)
        self._records += 1
        await self._durable()

    async def _durable(self) -> None:
        """Return when all that was put down so far is durable. Raises StorageError."""
        if self._ended:
            raise StorageError("the journal's writer has ended")
        if self._stuck is not None:
            raise self._stuck
        group, own = self._group, self._loop.create_future()
        group.waiting.append(own)
        self._wake.set()
        if len(group.waiting) >= min(_GROUP_FRAMES, self.slots):
            self._full.set()
        await own
        if group.failed is not None:
            raise group.failed

    async def serve(self) -> None:
        """Commit group after group until cancelled, and change segments when it is time."""
        try:
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                with anyio.move_on_after(_LINGER_S):
                    await self._full.wait()
                self._full = anyio.Event()
                with anyio.CancelScope(shield=True):
                    await self._commit()
                    if self._is_due():
                        await self._change_segment()
        finally:
            # Nobody commits from here on but `finish`: a worker must not wait for a group that never comes.
            self._ended = True
            self._group.failed = StorageError("the journal's writer has ended")
            self._group.end()

    async def rotate_when_old(self) -> None:
        """Change segments by age also while no answer comes."""
        while True:
            await anyio.sleep(_SEGMENT_AGE_S / 4)
            with anyio.CancelScope(shield=True):
                if self._is_due():
                    await self._commit()
                    await self._change_segment()

    async def finish(self) -> None:
        """Make everything durable, close the segment and hand it on. After a full disk it waits for space a while."""
        broken = self._segment is not None and self._segment.broken
        tries = _SPACE_TRIES if self.failure is not None and not broken else 1
        for left in reversed(range(tries)):
            try:
                async with self._committing:
                    await anyio.to_thread.run_sync(self._commit_now)
            except StorageError as error:
                self.failure = self.failure or error
                if left:
                    await anyio.sleep(_SPACE_WAIT_S)
            else:
                break
        if self._segment is not None:
            if self.failure is not None and self._segment.pending_frames:
                lost = f"{self._segment.pending_frames} frames in memory could not be written"
                self.failure = StorageError(f"{self.failure.message}; {lost}", hint=self.failure.hint)
            self._segment.close()
            await self._hand_on(self._segment)
            self._segment = None

    def _append(self, kind: FrameType, *parts: bytes) -> None:
        if self._segment is None:
            raise StorageError("the journal is closed")
        self._segment.append(kind, *parts)

    async def _commit(self) -> None:
        async with self._committing:
            group, self._group = self._group, _Group()
            self._flush_starts()
            try:
                await anyio.to_thread.run_sync(self._commit_now)
            except StorageError as error:
                self.failure = group.failed = error
            finally:
                group.end()

    def _flush_starts(self) -> None:
        """Put the noted starts into one frame of the group that is about to be committed."""
        if self._starts and self._segment is not None:
            starts, self._starts = bytes(self._starts), bytearray()
            with contextlib.suppress(StorageError):  # a broken segment says so to whoever waits for an answer
                self._segment.append(FrameType.START, starts)

    def _commit_now(self) -> None:
        if self._segment is not None:
            self._segment.commit()

    def _is_due(self) -> bool:
        if self._segment is None or self.failure is not None or not self._records:
            return False
        now = time.monotonic()
        age = max(_SEGMENT_AGE_S, _SEGMENT_AGE_SHARE * (now - self._begun))
        return self._segment.size_bytes >= _SEGMENT_BYTES or now - self._opened >= age

    async def _change_segment(self) -> None:
        """Open the next segment, then close this one; what is still owed is noted again in the new one."""
        async with self._committing:
            try:
                fresh = await anyio.to_thread.run_sync(self._open_segment, self._number + 1)
            except RunnerError as error:
                # Answers still go into the old segment; whoever stores the next one hears of it and stops the run.
                self.failure = self._stuck = StorageError(error.message, hint=error.hint)
                return
            old, self._segment = self._segment, fresh
            group, self._group = self._group, _Group()
            self._number += 1
            self._records = 0
            self._opened = time.monotonic()
            self._starts.clear()
            owed = b"".join(map(encode_start, self._owed.values()))
            if owed:
                fresh.append(FrameType.START, owed)
            if old is None:
                return
            try:
                # First what is owed, which must not be gone with the old segment once that is sealed.
                await anyio.to_thread.run_sync(fresh.commit)
                await anyio.to_thread.run_sync(old.commit)
            except StorageError as error:
                self.failure = group.failed = error
            finally:
                group.end()
            old.close()
            await self._hand_on(old)

    async def _hand_on(self, segment: SegmentWriter) -> None:
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):  # recovery seals it then
            await self._sealed.send(segment.path)

    def _open_segment(self, number: int) -> SegmentWriter:
        header = SegmentHeader(run_id=self._run_id, segment=number, manifest=self._manifest)
        return SegmentWriter.open(self._folder.journal, header)
