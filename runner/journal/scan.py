"""Owns the reading of journal segments: which frames are sound, where a torn tail begins, what is damage.

A bad place in a segment is one of two things. A *torn tail* is what an interrupted write leaves: half a frame, zeros,
or after a power loss even whole frames behind a hole, as long as none of them was acknowledged. It is counted and cut.
*Damage* is a bad place in frames that had been durable, which is proved by a sound SYNCED frame further on: the scan
stops with DamagedError, the file stays as it is, and `salvage_segment` gets the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final
from zlib import crc32

from runner import durable
from runner.errors import DamagedError, StorageError
from runner.journal.frames import HEAD, UNCHECKED_BYTES, FrameType, parse_head
from runner.journal.header import HEADER_BLOCK_BYTES, HEADER_BYTES, read_header
from runner.journal.window import CHUNK_BYTES, open_window
from runner.records import value

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from runner.journal.frames import Salt
    from runner.journal.header import Opening, SegmentHeader
    from runner.journal.window import Window

# Longer frames are checked in pieces before they are read as a whole: a damaged length must not make us fetch most of
# the file into memory before it is found out.
_AT_ONCE_BYTES: Final = 8 << 20
_TYPES: Final = {int(kind): kind for kind in FrameType}
_SALVAGE_HINT: Final = "the file is kept as it is; `evalrunner verify RUN_DIR --salvage DIR` copies all that is sound"


@value
class Frame:
    """One sound frame: `offset` is where it begins in the file, `sequence` its number in the segment, from 0."""

    kind: FrameType
    payload: bytes
    offset: int
    sequence: int

    @property
    def end(self) -> int:
        """The offset of the first byte behind the frame."""
        return self.offset + HEAD.size + len(self.payload)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes `[start, end)` of a file that hold no sound frame although sound ones follow; `lost_frames` stood there."""

    start: int
    end: int
    lost_frames: int


@dataclass(frozen=True, slots=True)
class ScanEnd:
    """How a scan ended. The file's first `good_bytes` are sound, `torn_bytes` behind them are a torn tail.

    `damaged` is filled by a salvage only, and then `good_bytes` counts to the end of the last sound frame.
    """

    frames: int
    good_bytes: int
    torn_bytes: int
    damaged: tuple[Damage, ...] = ()


class SegmentScan:
    """The frames of one segment, in order, in bounded memory; iterate over it once.

    `header` is null if the segment was never finished being created: then it holds nothing. `end` is null until the
    iteration is through. Iterating raises DamagedError, after all frames before the damage (unless it salvages), and
    StorageError if the file cannot be read.
    """

    def __init__(self, path: Path, header: SegmentHeader | None, frames: Iterator[Frame | ScanEnd]) -> None:
        self.path = path
        self.header = header
        self.end: ScanEnd | None = None
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        for item in self._frames:
            if isinstance(item, ScanEnd):
                self.end = item
            else:
                yield item


def scan_segment(path: Path, *, run_id: str | None = None) -> SegmentScan:
    """Open a segment for reading. `run_id`, if given, is the run that it must belong to.

    Raises DamagedError (damaged header, or a file of another run or number), StorageError (unreadable, or of a newer
    format).
    """
    return _open_scan(path, run_id, _scan)


def salvage_segment(path: Path, *, run_id: str | None = None) -> SegmentScan:
    """Open a segment to get every sound frame out of it, whatever lies between them. Raises as `scan_segment`."""
    return _open_scan(path, run_id, _salvage)


def repair_tail(path: Path, good_bytes: int) -> int:
    """Cut a segment to its first `good_bytes`, durably; return how many bytes that dropped. Raises StorageError."""
    with open_window(path) as window:
        size = window.size
    if size < good_bytes:
        raise StorageError(f"{path} has {size} bytes, fewer than the {good_bytes} that were read from it before")
    durable.cut_file(path, good_bytes)
    return size - good_bytes


def _open_scan(
    path: Path, run_id: str | None, read: Callable[[Path, Opening], Iterator[Frame | ScanEnd]]
) -> SegmentScan:
    with open_window(path) as window:
        opening = read_header(window, run_id)
        size = window.size
    if opening is None:
        return SegmentScan(path, None, iter([ScanEnd(0, 0, size)]))
    return SegmentScan(path, opening.header, read(path, opening))


def _scan(path: Path, opening: Opening) -> Iterator[Frame | ScanEnd]:
    good, count = HEADER_BYTES, 0
    with open_window(path) as window:
        frames = _sound_frames(window, opening.salt)
        for frame in frames:
            if frame.offset != good or frame.sequence != count:
                _refuse_if_was_durable(path, good, count, chain([frame], frames))
                break
            good = frame.end
            if frame.kind is not FrameType.SYNCED:
                count += 1
                yield frame
        yield ScanEnd(count, good, window.size - good)


def _salvage(path: Path, opening: Opening) -> Iterator[Frame | ScanEnd]:
    good, expected, count = HEADER_BYTES, 0, 0
    damaged = [Damage(start, start + HEADER_BLOCK_BYTES, 0) for start in opening.bad_copies]
    with open_window(path) as window:
        for frame in _sound_frames(window, opening.salt):
            if frame.offset != good or frame.sequence != expected:
                damaged.append(Damage(good, frame.offset, frame.sequence - expected))
            good, expected = frame.end, frame.sequence
            if frame.kind is not FrameType.SYNCED:
                expected += 1
                count += 1
                yield frame
        yield ScanEnd(count, good, window.size - good, tuple(damaged))


def _refuse_if_was_durable(path: Path, offset: int, count: int, later: Iterator[Frame]) -> None:
    # A SYNCED frame counts the frames that were durable: more than the sound ones before the bad place means that
    # at least one that had been promised is gone.
    if any(frame.kind is FrameType.SYNCED and frame.sequence > count for frame in later):
        raise DamagedError(
            f"{path} is damaged at byte {offset}, behind {count} sound frames: what follows had been saved and was "
            "changed since",
            hint=_SALVAGE_HINT,
        )


def _sound_frames(window: Window, salt: Salt) -> Iterator[Frame]:
    position, expected = HEADER_BYTES, 0
    while True:
        # Nearly always a frame begins where the last one ended and lies in one piece; the rest is looked for with care.
        position, expected = yield from _frames_in_a_row(window, salt, position, expected)
        found = position
        frame = _read_frame(window, salt, position)
        if frame is None:
            next_mark = window.find(salt.mark, position + 1)
            if next_mark is None:
                return
            found = next_mark
            frame = _read_frame(window, salt, found)
        if frame is None or frame.sequence < expected:  # the latter is a copy of one that was there before
            position = found + 1
            continue
        yield frame
        position = frame.end
        expected = frame.sequence + (frame.kind is not FrameType.SYNCED)


def _frames_in_a_row(
    window: Window, salt: Salt, position: int, expected: int
) -> Generator[Frame, None, tuple[int, int]]:
    """Yield sound frames that follow each other from `position` on, as far as the window's buffer holds them whole.

    Return where the next frame would begin, and its number.
    """
    start, block = window.block(position)
    at, last = position - start, len(block) - HEAD.size
    while at <= last:
        mark, crc, length, sequence, number = HEAD.unpack_from(block, at)
        begin = at + HEAD.size
        end = begin + length
        kind = _TYPES.get(number)
        if mark != salt.mark or end > len(block) or sequence != expected or kind is None:
            break
        payload = block[begin:end]
        if crc32(payload, crc32(block[at + UNCHECKED_BYTES : begin], salt.seed)) != crc:
            break
        yield Frame(kind, payload, start + at, sequence)
        at = end
        expected += kind is not FrameType.SYNCED
    return start + at, expected


def _read_frame(window: Window, salt: Salt, offset: int) -> Frame | None:
    head = parse_head(window.read(offset, HEAD.size), salt)
    start = offset + HEAD.size
    if head is None or start + head.length > window.size:
        return None
    kind = _TYPES.get(head.type)
    crc = crc32(head.checked, salt.seed)
    if head.length <= _AT_ONCE_BYTES:
        payload = window.read(start, head.length)
        sound = kind is not None and crc32(payload, crc) == head.crc
        return Frame(kind, payload, offset, head.sequence) if sound and kind is not None else None
    for piece in range(start, start + head.length, CHUNK_BYTES):
        crc = crc32(window.read(piece, min(CHUNK_BYTES, start + head.length - piece)), crc)
    if kind is None or crc != head.crc:
        return None
    return Frame(kind, window.read(start, head.length), offset, head.sequence)
