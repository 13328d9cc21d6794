"""Owns the header of a segment: what it says, and whether the file is what its name and its run promise.

The header block is a frame whose mark and seed are fixed for all time, padded with blanks to 512 bytes (one sector, so
that it is written whole or not at all): `{"format": 1, "run_id", "segment", "manifest", "mark", "seed"}`. It stands
twice, for without the mark and the seed nothing behind it could be told from noise. Later formats keep its form.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from runner.errors import DamagedError, StorageError
from runner.journal.frames import HEAD, FrameType, Salt, encode_frame, parse_head
from runner.journal.listing import segment_path

if TYPE_CHECKING:
    from pathlib import Path

    from runner.journal.window import Window

FORMAT: Final = 1
HEADER_BLOCK_BYTES: Final = 512
HEADER_BYTES: Final = 2 * HEADER_BLOCK_BYTES
HEADER_SALT: Final = Salt(b"\xffEVJ", 0)


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Which segment of which run this is: `manifest` is the digest of the run's manifest, `segment` counts from 1."""

    run_id: str
    segment: int
    manifest: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What a sound header says; `bad_copies` holds the offset of the header block that is not sound, if one is not."""

    header: SegmentHeader
    salt: Salt
    bad_copies: tuple[int, ...]


def encode_header(header: SegmentHeader, salt: Salt) -> bytes:
    """Build the first `HEADER_BYTES` of a segment. ValueError if run id and manifest digest do not fit."""
    fields = {
        "format": FORMAT,
        "run_id": header.run_id,
        "segment": header.segment,
        "manifest": header.manifest,
        "mark": salt.mark.hex(),
        "seed": salt.seed,
    }
    payload = orjson.dumps(fields).ljust(HEADER_BLOCK_BYTES - HEAD.size)
    block = encode_frame(HEADER_SALT, 0, FrameType.HEADER, payload)
    if len(block) > HEADER_BLOCK_BYTES:
        raise ValueError(f"run id {header.run_id!r} and manifest {header.manifest!r} are too long for a journal header")
    return block * (HEADER_BYTES // HEADER_BLOCK_BYTES)


def read_header(window: Window, run_id: str | None) -> Opening | None:
    """Read either copy of the header; null if the file never got as far as to hold a frame. Errors: `scan_segment`."""
    blocks = range(0, HEADER_BYTES, HEADER_BLOCK_BYTES)
    found = {start: _header_fields(window.read(start, HEADER_BLOCK_BYTES)) for start in blocks}
    fields = next((fields for fields in found.values() if fields is not None), None)
    if fields is not None:
        _refuse_other_format(window.path, fields)
    # The header is durable before anything is written behind it: without that, a file no longer than it holds nothing.
    if window.size < HEADER_BYTES or (fields is None and window.size == HEADER_BYTES):
        return None
    if fields is None:
        raise DamagedError(
            f"{window.path} is damaged: no copy of its header is sound, and without one no frame can be found",
            hint="the file is kept as it is; restore it from a backup, or remove it to send its requests again",
        )
    header = SegmentHeader(fields["run_id"], fields["segment"], fields["manifest"])
    _refuse_other_file(window.path, header, run_id)
    salt = Salt(bytes.fromhex(fields["mark"]), fields["seed"])
    return Opening(header, salt, tuple(start for start in blocks if found[start] is None))


def _header_fields(block: bytes) -> dict[str, Any] | None:
    """Read one header block of any format; null if it is not sound."""
    head = parse_head(block[: HEAD.size], HEADER_SALT)
    payload = block[HEAD.size :]
    if head is None or head.type != FrameType.HEADER or head.length != len(payload):
        return None
    if zlib.crc32(payload, zlib.crc32(head.checked, HEADER_SALT.seed)) != head.crc:
        return None
    fields: dict[str, Any] = orjson.loads(payload)
    return fields


def _refuse_other_format(path: Path, fields: dict[str, Any]) -> None:
    if fields["format"] != FORMAT:
        raise StorageError(
            f"{path} was written by a newer evalrunner (journal format {fields['format']}, this one reads {FORMAT})",
            hint="upgrade evalrunner; the file is kept as it is",
        )


def _refuse_other_file(path: Path, header: SegmentHeader, run_id: str | None) -> None:
    if run_id is not None and header.run_id != run_id:
        raise DamagedError(
            f"{path} belongs to run {header.run_id}, not to run {run_id}",
            hint="it was copied or moved here; move it back, the file is kept as it is",
        )
    if path.name != segment_path(path.parent, header.segment).name:
        raise DamagedError(
            f"{path} is segment {header.segment} of its run under another name",
            hint=f"it was renamed or copied; its name was {segment_path(path.parent, header.segment).name}",
        )
