"""Owns telling whether a text file is what it was: digests of its bytes, in blocks that end at line ends."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileBlock:
    """A piece of a file: its bytes, its line ends, and the digest of its content."""

    size: int
    lines: int
    digest: str


def read_blocks(path: Path, start: int = 0) -> tuple[FileBlock, ...]:
    """Return the blocks from byte `start` on; a last line without a line end is in none, since it may still grow.

    Raises OSError.
    """
    blocks = []
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(_BLOCK_BYTES):
            block += file.readline() if not block.endswith(b"\n") else b""
            whole = block[: block.rfind(b"\n") + 1]
            if whole:
                blocks.append(FileBlock(len(whole), _count_lines(whole), _digest(whole)))
    return tuple(blocks)


def begins_with(path: Path, blocks: Sequence[FileBlock]) -> bool:
    """Say whether the file begins with just these blocks. Raises OSError."""
    with path.open("rb") as file:
        return all(_digest(file.read(block.size)) == block.digest for block in blocks)


def path_ends_line(path: Path) -> bool:
    """Say whether the file's last byte is a line end. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        return file.read(1) == b"\n"


def _count_lines(data: bytes) -> int:
    # Of megabytes a fifth of the time that bytes.count takes.
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))


def _digest(data: bytes) -> str:
    # Processors have instructions for it: of megabytes it takes two thirds of the time of BLAKE2.
    return sha256(data).hexdigest()
