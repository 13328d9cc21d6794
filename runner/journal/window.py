"""Owns the buffered look at a part of a segment file: memory does not grow with the file."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from runner import durable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES: Final = 1 << 20


class Window:
    """A file and a buffer over a part of it; `size` is the file's size in bytes when it was opened."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self._descriptor = descriptor
        self._start = 0
        self._buffer = b""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer at the end of the file."""
        if size > CHUNK_BYTES:
            return self._fetch(offset, size)
        begin = offset - self._start
        if begin < 0 or begin + size > len(self._buffer):
            self._start, self._buffer, begin = offset, self._fetch(offset, CHUNK_BYTES), 0
        return self._buffer[begin : begin + size]

    def block(self, offset: int) -> tuple[int, bytes]:
        """Return what the buffer holds and where it begins; it holds at least the byte at `offset`, if there is one."""
        self.read(offset, 1)
        return self._start, self._buffer

    def find(self, mark: bytes, offset: int) -> int | None:
        """Return where `mark` occurs first, at or behind `offset`."""
        while len(self.read(offset, len(mark))) == len(mark):
            found = self._buffer.find(mark, offset - self._start)
            if found >= 0:
                return self._start + found
            offset = self._start + len(self._buffer) - len(mark) + 1
        return None

    def _fetch(self, offset: int, size: int) -> bytes:
        with _failing_as_storage_error(self.path):
            return os.pread(self._descriptor, size, offset)


@contextmanager
def open_window(path: Path) -> Iterator[Window]:
    """Open a file for reading. Raises StorageError, as every reading of it does."""
    with _failing_as_storage_error(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _failing_as_storage_error(path):
            size = os.fstat(descriptor).st_size
        yield Window(path, descriptor, size)
    finally:
        os.close(descriptor)


@contextmanager
def _failing_as_storage_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise durable.storage_error(error, "read", path) from error
