"""Owns the frame: how one entry of the journal lies on disk, and what tells a sound one from anything else.

    mark 4 | crc 4 | length 4 | sequence 4 | type 1 | payload           (unsigned, little endian; crc is zlib's crc32)

What a frame protects against, and how:

- *Text of a model that looks like a frame.* A payload holds bytes chosen by a server. When the frame around them is
  torn, a search for the next frame walks through them. So every segment draws a random mark and a random seed for its
  crc; they stand in its header only, are never sent anywhere, and a forger has to guess 56 bits.
- *Text that holds the mark by chance.* The mark begins with 0xFF, a byte that UTF-8 never uses.
- *Frames at the wrong place*: a duplicated block, a piece of another segment. `sequence` counts the frames of the
  segment, so one that was there already is stale, and one that is missing leaves a gap.
- *Holes before the end.* After a power loss, blocks that were written but not yet synced may be missing while later
  ones are there: harmless, for nothing in them was acknowledged. The same hole in synced frames is damage. A frame of
  type SYNCED tells the two apart: it is written after each sync, and its `sequence` is the number of frames that were
  durable by then.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from runner.records import value

MAX_PAYLOAD_BYTES: Final = 1 << 30

HEAD: Final = struct.Struct("<4sIIIB")
_MARK_AND_CRC: Final = struct.Struct("<4sI")
_CHECKED: Final = struct.Struct("<IIB")
# How many bytes of the head, mark and crc, the crc does not cover.
UNCHECKED_BYTES: Final = _MARK_AND_CRC.size


class FrameType(IntEnum):
    """What a frame holds. HEADER and SYNCED are the journal's own; it does not look into the others."""

    HEADER = 1
    START = 2
    ATTEMPT = 3
    ANSWER = 4
    FAILURE = 5
    SKIPPED = 6
    NOTE = 7
    SYNCED = 8


@dataclass(frozen=True, slots=True)
class Salt:
    """What makes the frames of one segment its own: 4 bytes of mark, 32 bits of crc seed."""

    mark: bytes
    seed: int


@value
class Head:
    """The first 17 bytes of a frame. `checked` is the part of them that the crc covers."""

    crc: int
    length: int
    sequence: int
    type: int
    checked: bytes


def new_salt() -> Salt:
    """Draw the salt of a new segment."""
    return Salt(b"\xff" + secrets.token_bytes(3), secrets.randbits(32))


def encode_frame(salt: Salt, sequence: int, kind: FrameType, *parts: bytes) -> bytes:
    """Build a frame whose payload is `parts` in a row. ValueError if that is more than 1 GiB."""
    length = sum(map(len, parts))
    if length > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a journal frame holds at most {MAX_PAYLOAD_BYTES} bytes, not {length}")
    checked = _CHECKED.pack(length, sequence, kind)
    crc = zlib.crc32(checked, salt.seed)
    for part in parts:
        crc = zlib.crc32(part, crc)
    return b"".join((_MARK_AND_CRC.pack(salt.mark, crc), checked, *parts))


def parse_head(head: bytes, salt: Salt) -> Head | None:
    """Read the first bytes of what may be a frame; null if they cannot be one. Says nothing about the payload yet."""
    if len(head) < HEAD.size:
        return None
    mark, crc, length, sequence, kind = HEAD.unpack(head)
    if mark != salt.mark or length > MAX_PAYLOAD_BYTES:
        return None
    return Head(crc, length, sequence, kind, head[UNCHECKED_BYTES:])
