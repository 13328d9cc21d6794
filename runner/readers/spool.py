"""Owns the copy of standard input on disk, which the passes over the dataset and a later resume read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Final

from runner.errors import CannotCreateError, DatasetError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE_BYTES: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
_BINARY: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PAR1": "Parquet", b"ARROW1": "Arrow"}


def spool_stdin(stream: BinaryIO, folder: Path) -> Path:
    """Copy `stream` into `folder` as `stdin.jsonl` (its first non-blank byte is `{`) or `stdin.csv`; return the file.

    Holds 1 MiB at most; the file is private and on disk when this returns. Raises DatasetError for compressed or
    columnar input, CannotCreateError and StorageError for the copy.
    """
    part = folder / "stdin.part"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise CannotCreateError(f"{part}: cannot be created ({error.strerror})") from error
    try:
        with open(descriptor, "wb") as sink:  # noqa: PTH123 - a descriptor with its mode set, not a path
            first = b""
            for piece in _pieces(stream):
                if not sink.tell():
                    _refuse_binary(piece)
                first = first or piece.removeprefix(_BOM).lstrip()[:1]
                sink.write(piece)
            sink.flush()
            os.fsync(sink.fileno())
        return part.replace(folder / ("stdin.csv" if first not in {b"", b"{"} else "stdin.jsonl"))
    except OSError as error:
        raise StorageError(f"{part}: standard input cannot be kept ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(_PIECE_BYTES):
        yield piece


def _refuse_binary(start: bytes) -> None:
    for magic, name in _BINARY.items():
        if start.startswith(magic):
            raise DatasetError(f"standard input is {name}", hint="pipe plain JSON Lines or CSV, or name the file")
