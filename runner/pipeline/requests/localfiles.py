"""Owns opening the files that dataset rows name: regular ones inside one folder, of a bounded size, and no others.

Rows may come from anywhere and their files go to a server, so a row must not choose what of this machine is sent.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_FILE_BYTES = 20 << 20
_PIECE_BYTES = 1 << 20
_DIGEST_BYTES = 16
# The last one opens what it finds without waiting (a FIFO), without following (a link put there just now), and without
# making it this process's terminal.
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY


class LocalFileError(ValueError):
    """A file that cannot be used; the message is the reason, without its name."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """An open regular file. `version` stays the same as long as nobody writes to the file."""

    stream: BinaryIO
    size_bytes: int
    version: tuple[int, ...]

    def read(self) -> bytes:
        """Return all of it. Raises LocalFileError where it grew beyond the largest size meanwhile, OSError."""
        content = self.stream.read(MOST_FILE_BYTES + 1)
        if len(content) > MOST_FILE_BYTES:
            raise _too_large(len(content))
        return content

    def digest(self) -> bytes:
        """Return the 16-byte digest of its content, holding 1 MiB at a time. Raises as `read` does."""
        hashed, size = blake2b(digest_size=_DIGEST_BYTES), 0
        while piece := self.stream.read(_PIECE_BYTES):
            size += len(piece)
            if size > MOST_FILE_BYTES:
                raise _too_large(size)
            hashed.update(piece)
        return hashed.digest()


def content_digest(content: bytes) -> bytes:
    """Return the digest of a file's content, 16 bytes."""
    return blake2b(content, digest_size=_DIGEST_BYTES).digest()


@contextlib.contextmanager
def open_local(folder: Path, name: str) -> Iterator[LocalFile]:
    """Open the file that `name` means in `folder`, an absolute path without links.

    Links and `..` may lead about inside the folder. Raises LocalFileError for whatever is no file to be sent: outside
    the folder, hidden, no regular file, too large, not there, not readable.
    """
    parts = _parts_inside(folder, name)
    try:
        with _closing(_open_below(folder, parts)) as descriptor:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise LocalFileError("is a folder" if stat.S_ISDIR(found.st_mode) else "is no regular file")
            if found.st_size > MOST_FILE_BYTES:
                raise _too_large(found.st_size)
            version = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            with open(descriptor, "rb", closefd=False) as stream:
                yield LocalFile(stream, found.st_size, version)
    except FileNotFoundError as error:
        raise LocalFileError(f"does not exist in {folder}") from error
    except OSError as error:
        raise LocalFileError(f"cannot be read ({error.strerror})") from error


def _parts_inside(folder: Path, name: str) -> tuple[str, ...]:
    """Return the file's place below the folder, free of links."""
    try:
        real = Path(os.path.realpath(folder / name))
    except (ValueError, OSError) as error:  # a null character, or half of a surrogate pair
        raise LocalFileError("cannot be the name of a file") from error
    if not real.is_relative_to(folder):
        raise LocalFileError(f"lies outside the dataset's folder, {folder}")
    parts = real.relative_to(folder).parts
    if not parts:
        raise LocalFileError("is a folder")
    if any(part.startswith(".") for part in parts):
        raise LocalFileError("is hidden (its name, or that of a folder, begins with a dot), and may hold a secret")
    return parts


def _open_below(folder: Path, parts: tuple[str, ...]) -> int:
    """Go down folder by folder: a link that someone put in the way since `parts` were found out is not followed."""
    here = os.open(folder, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(parts[-1], _FILE, dir_fd=here)
    finally:
        os.close(here)


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _too_large(size_bytes: int) -> LocalFileError:
    return LocalFileError(f"has {size_bytes:,} bytes; {MOST_FILE_BYTES >> 20} MiB are the most for a file")
