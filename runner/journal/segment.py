"""Owns the writing of one segment: frames collected in memory, committed in groups, cut back when a write fails."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner import durable
from runner.crash_points import crash_point
from runner.errors import StorageError
from runner.journal.frames import FrameType, encode_frame, new_salt
from runner.journal.header import HEADER_BYTES, encode_header
from runner.journal.listing import segment_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.journal.frames import Salt
    from runner.journal.header import SegmentHeader

# Frames are joined up to this size for one write: few system calls, and no second copy of a group of huge answers.
_WRITE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit made durable."""

    frames: int
    bytes: int


class SegmentWriter:
    """One open segment. Get one by `SegmentWriter.open`.

    Threads: `append` belongs to one thread (the event loop's), `commit` to one at a time (a worker's), and `append` may
    run while `commit` does: what it adds belongs to the next group. Between the two stands only a deque, whose `append`
    and `popleft` are atomic. Everything else is written by one side only.
    """

    def __init__(self, path: Path, descriptor: int, salt: Salt) -> None:
        self.path = path
        self._descriptor = descriptor
        self._salt = salt
        self._pending: deque[bytes] = deque()
        # Of the appending side.
        self._appended_frames = 0
        # Of the committing side. `_size_bytes` is where the file's sound part ends; behind it may stand half a write.
        self._frames = 0
        self._size_bytes = HEADER_BYTES
        self._unfinished = False
        self._broken: StorageError | None = None

    @classmethod
    def open(cls, folder: Path, header: SegmentHeader, *, salt: Salt | None = None) -> SegmentWriter:
        """Create segment number `header.segment` in `folder`: header and name are durable on return.

        `salt` is drawn at random unless given. Raises CannotCreateError, StorageError; ValueError as `encode_header`.
        """
        salt = salt or new_salt()
        block = encode_header(header, salt)
        path = segment_path(folder, header.segment)
        descriptor = durable.create_file(path)
        try:
            _write_header(descriptor, block, path)
        except StorageError:
            with suppress(OSError):
                os.close(descriptor)
            with suppress(OSError):
                path.unlink()
            raise
        return cls(path, descriptor, salt)

    @property
    def size_bytes(self) -> int:
        """The length of the file's sound part; frames still in memory are not in it."""
        return self._size_bytes

    @property
    def frames(self) -> int:
        """How many frames are durable."""
        return self._frames

    @property
    def broken(self) -> bool:
        """Whether a sync failed, so that nothing can be promised about this file any more."""
        return self._broken is not None

    @property
    def pending_frames(self) -> int:
        """How many frames were appended and are not durable yet."""
        return self._appended_frames - self._frames

    def append(self, kind: FrameType, *parts: bytes) -> int:
        """Collect a frame whose payload is `parts` in a row, and return its size in bytes.

        Nothing is promised about it before a `commit` that began later returns. Raises StorageError after a failed
        sync, ValueError as `encode_frame`.
        """
        if self._broken is not None:
            self._refuse_if_broken()
        frame = encode_frame(self._salt, self._appended_frames, kind, *parts)
        self._appended_frames += 1
        self._pending.append(frame)
        return len(frame)

    def commit(self) -> Committed:
        """Write everything collected so far and make it durable; blocks. Returns what was made durable, if anything.

        Raises StorageError. If a write failed (full disk), the file is cut back to its sound part, the frames stay in
        memory in their order, and a later `commit` writes them. If a sync failed, the writer is broken for good: it is
        unknown what the disk holds, every later call raises the same error, and only a scan of the file tells.
        """
        self._refuse_if_broken()
        group = [self._pending.popleft() for _ in range(len(self._pending))]
        if not group:
            return Committed(0, 0)
        crash_point("journal:before-write")
        try:
            self._write(group)
        except BaseException as error:
            self._pending.extendleft(reversed(group))
            if isinstance(error, OSError):
                raise durable.storage_error(error, "write to", self.path) from error
            raise
        crash_point("journal:after-write")
        self._sync()
        crash_point("journal:after-sync")
        committed = Committed(len(group), sum(map(len, group)))
        self._frames += committed.frames
        self._size_bytes += committed.bytes
        self._mark_as_synced()
        crash_point("journal:after-mark")
        return committed

    def close(self) -> None:
        """Close the file; frames that were not committed are gone. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if self._broken is None:
            self._broken = StorageError(f"the journal segment {self.path} is closed")
        if descriptor >= 0:
            # All that was promised is synced: an error here takes nothing away.
            with suppress(OSError):
                os.close(descriptor)

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            raise StorageError(self._broken.message, hint=self._broken.hint)

    def _write(self, frames: list[bytes]) -> None:
        if self._unfinished:
            os.ftruncate(self._descriptor, self._size_bytes)
        self._unfinished = True
        try:
            for piece in _joined(frames):
                durable.write_all(self._descriptor, piece)
        except OSError:
            # If the cut fails too, the next write tries it again first: nothing may be appended to half a frame.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size_bytes)
            raise
        self._unfinished = False

    def _sync(self) -> None:
        try:
            durable.sync_data(self._descriptor)
        except OSError as error:
            self._broken = durable.sync_error(error, self.path)
            raise self._broken from error

    def _mark_as_synced(self) -> None:
        # Not synced itself; the next group's sync does that, or the kernel in its own time. A killed process leaves it
        # readable all the same, and after a power loss its absence costs nothing: the frames it speaks of are whole.
        mark = encode_frame(self._salt, self._frames, FrameType.SYNCED)
        try:
            self._write([mark])
        except OSError:
            return  # the frames are durable; the space for a note about it can wait
        self._size_bytes += len(mark)


def _write_header(descriptor: int, block: bytes, path: Path) -> None:
    crash_point("journal:after-create")
    try:
        durable.write_all(descriptor, block)
    except OSError as error:
        raise durable.storage_error(error, "write to", path) from error
    crash_point("journal:after-header-write")
    try:
        durable.sync_data(descriptor)
    except OSError as error:
        raise durable.sync_error(error, path) from error
    crash_point("journal:after-header-sync")
    durable.sync_folder(path.parent)
    crash_point("journal:after-folder-sync")


def _joined(frames: list[bytes]) -> Iterator[bytes]:
    if sum(map(len, frames)) <= _WRITE_BYTES:
        yield b"".join(frames)
        return
    batch: list[bytes] = []
    size = 0
    for frame in frames:
        if batch and size + len(frame) > _WRITE_BYTES:
            yield b"".join(batch)
            batch, size = [], 0
        batch.append(frame)
        size += len(frame)
    yield b"".join(batch)
