"""Owns the files that are to be added: found, measured, hashed, and read again in blocks while they are sent."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from anyio import to_thread

from runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from pathlib import Path

_BLOCK_BYTES = 256 * 1024
_SHOWN = 20
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to add: its path, the name it gets, and what was in it when it was found."""

    path: Path
    name: str
    size_bytes: int
    sha256: str


class FileError(UsageError):
    """A file cannot be sent."""


class FileChangedError(FileError):
    """A file is not what it was when it was hashed; it did not go out whole."""


def find_files(paths: Sequence[Path], *, largest_bytes: int) -> list[LocalFile]:
    """Return the files at these paths, those below folders too, in order and each once.

    A file is named by its own name, one from a folder by its path below that folder. Hidden files of folders are left
    out. Raises UsageError with everything that is wrong: nothing there, no plain file, empty, too large, unreadable.
    """
    found: dict[Path, str] = {}
    problems: list[str] = []
    for path in paths:
        if path.is_dir():
            inside = list(_below(path))
            problems += [] if inside else [f"{path}: no files in this folder"]
            for file in inside:
                found.setdefault(file, file.relative_to(path).as_posix())
        else:
            found.setdefault(path, path.name)
    files = []
    for path, name in found.items():
        try:
            files.append(_measured(path, name, largest_bytes))
        except OSError as error:
            problems.append(f"{path}: {error.strerror or 'cannot be read'}")
        except ValueError as error:  # a NUL in the path too
            problems.append(f"{path}: {error}")
    if problems:
        more = f"\nand {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UsageError("\n".join(problems[:_SHOWN]) + more, hint="nothing was sent")
    return files


async def read_blocks(file: LocalFile) -> AsyncGenerator[bytes]:
    """Yield a file's content. Raises FileChangedError, before the last block, where it is not what was hashed."""
    digest, left = sha256(), file.size_bytes
    # Closed without a thread: closing comes also when the request is being cancelled.
    with file.path.open("rb") as stream:
        while left:
            block = await to_thread.run_sync(stream.read, min(_BLOCK_BYTES, left))
            digest.update(block)
            left -= len(block)
            if not block or (not left and (stream.read(1) or digest.hexdigest() != file.sha256)):
                raise FileChangedError(f"{file.path}: changed while it was being sent", hint="run the command again")
            yield block


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            yield path


def _measured(path: Path, name: str, largest_bytes: int) -> LocalFile:
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is no file")
    digest, size = sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            size += len(block)
            if size > largest_bytes:
                raise ValueError(f"is larger than {largest_bytes / _MIB:,.4g} MiB, see --max-mib")
            digest.update(block)
    if not size:
        raise ValueError("is empty")
    return LocalFile(path, name, size, digest.hexdigest())
