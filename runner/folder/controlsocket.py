"""Owns the unix socket of a run folder: bound while a session runs, and reached, however deep the folder lies."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.folder.layout import RunFolder

# An address has room for 107 bytes on Linux, and for 103 on macOS.
_MOST_ADDRESS_BYTES = 103
_MODE = 0o600
_BACKLOG = 16
_MOST_REPLY_BYTES = 1 << 20


def supported() -> bool:
    """Say whether this system has unix sockets; Windows has none for Python."""
    return hasattr(socket, "AF_UNIX")


@contextlib.contextmanager
def listening(folder: RunFolder) -> Iterator[socket.socket]:
    """Listen for the length of the context, on a socket that does not block and that only its owner may connect to.

    Only for who holds the run's lock: a socket that lies there is a dead process's, and is replaced. Raises OSError
    where the file system has no sockets, or where something else lies there.
    """
    path = folder.control
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.settimeout(0.0)
        with _address(path) as address:
            listener.bind(address)
        try:
            path.chmod(_MODE)  # nobody can connect before it listens
            listener.listen(_BACKLOG)
            yield listener
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def exchange(folder: RunFolder, line: bytes, *, timeout_s: float) -> bytes:
    """Send a line to whoever listens there, and return the line that comes back. Raises OSError, TimeoutError."""
    last = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        with _address(folder.control) as address:
            connection.connect(address)
        connection.sendall(line + b"\n")
        reply = bytearray()
        while not reply.endswith(b"\n") and len(reply) < _MOST_REPLY_BYTES:
            connection.settimeout(max(last - time.monotonic(), 0.001))
            block = connection.recv(1 << 16)
            if not block:
                raise ConnectionResetError("the connection was closed before an answer")
            reply += block
        return bytes(reply)


@contextlib.contextmanager
def _address(path: Path) -> Iterator[bytes]:
    """Yield an address of a path: the path itself, or by a short link to its folder where it is too long."""
    direct = os.fsencode(path)
    if len(direct) <= _MOST_ADDRESS_BYTES:
        yield direct
        return
    with tempfile.TemporaryDirectory(prefix="evalrunner-") as place:
        link = Path(place, "run")
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield os.fsencode(link / path.name)
