"""Owns the bytes of a dataset file: opening, decompressing, and the caps that stop an archive bomb."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from runner.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runner.readers.batches import ReadLimits
    from runner.readers.files import DatasetFile

# Larger pieces do not stay in a core's cache between reading, splitting and parsing.
READ_BYTES: Final = 128 << 10


class StreamError(Exception):
    """The bytes end before the file does. Whoever knows how far it came turns it into a DatasetError."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def read_content(file: DatasetFile, limits: ReadLimits) -> Iterator[bytes]:
    """Yield the decompressed content in pieces of at most 128 KiB; all members and frames. Raises StreamError."""
    total = 0
    try:
        allowed = max(limits.unchecked_bytes, limits.expansion * file.path.stat().st_size)
        with _opened(file) as read:
            while piece := read():
                total += len(piece)
                if file.codec and total > allowed:
                    raise StreamError(
                        f"unpacks to more than {limits.expansion} times its size, like an archive bomb",
                        "if it is sound, unpack it and name the unpacked file",
                    )
                yield piece
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise _translated(file, error) from error


@contextmanager
def open_seekable(file: DatasetFile, limits: ReadLimits) -> Iterator[Path]:
    """Give a path with the uncompressed content; a compressed file is unpacked into a temporary file for the time.

    Raises DatasetError where it cannot be read or unpacked.
    """
    if file.codec is None:
        yield file.path
        return
    with tempfile.TemporaryDirectory(prefix="evalrunner-") as folder:
        path = Path(folder) / f"dataset{file.suffix}"
        _unpack(file, path, limits)
        yield path


def _unpack(file: DatasetFile, path: Path, limits: ReadLimits) -> None:
    hint = "set TMPDIR to a folder with more room, or unpack the file"
    try:
        with path.open("wb") as sink:
            for piece in read_content(file, limits):
                sink.write(piece)
                if sink.tell() > limits.unpacked_bytes:
                    raise DatasetError(
                        f"{file.name}: unpacks to more than {limits.unpacked_bytes >> 20} MiB", hint=hint
                    )
    except StreamError as error:
        raise DatasetError(f"{file.name}: {error.reason}; no row was read", hint=error.hint) from error
    except OSError as error:
        raise DatasetError(
            f"{file.name}: cannot be unpacked into {path.parent}: {error.strerror}", hint=hint
        ) from error


@contextmanager
def _opened(file: DatasetFile) -> Iterator[Callable[[], bytes]]:
    if file.codec == "gzip":
        with gzip.open(file.path, "rb") as unzipped:
            yield lambda: unzipped.read1(READ_BYTES)
    elif file.codec == "zstd":
        with file.path.open("rb") as packed, pa.CompressedInputStream(packed, "zstd") as unpacked:
            yield lambda: unpacked.read(READ_BYTES)
    else:
        with file.path.open("rb", buffering=0) as plain:
            yield lambda: plain.read(READ_BYTES)


def _translated(file: DatasetFile, error: Exception) -> StreamError:
    if isinstance(error, OSError) and error.strerror:
        return StreamError(f"cannot be read ({error.strerror})", "check that it is a file that may be read")
    return StreamError(f"its {file.codec} data is cut off or damaged", "copy or pack the file again")
