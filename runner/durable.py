"""Owns every act that makes a file of a run exist and last: creating, syncing, renaming, cutting, removing.

A name is durable only when the folder that holds it was synced too, and a renamed file only when its content was
synced before ("All File Systems Are Not Created Equal", OSDI 2014). A failed fsync is never tried again: Linux drops
the pages that it could not write, and a second fsync succeeds without them (PostgreSQL panics since 11.2 for that
reason). Files are made with mode 0600 and folders with 0700, whatever the umask.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from runner.crash_points import crash_point
from runner.errors import CannotCreateError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700

_FULL: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full for this user (quota)",
    errno.EFBIG: "the disk is full as far as this process may use it (file size limit, `ulimit -f`)",
}
_FULL_HINT: Final = "free some space, then run the same command again: it continues where it stopped"
_HINTS: Final = {
    errno.EACCES: "check the folder's permissions, or choose another folder",
    errno.EPERM: "check the folder's permissions, or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.EEXIST: "something else stands there; move it away or choose another folder",
}
# File systems that cannot sync a folder at all (some FUSE and CIFS mounts) say so by these; there is no other way.
_NO_FOLDER_SYNC: Final = {errno.EINVAL, errno.ENOTSUP}


def create_folder(path: Path) -> None:
    """Make `path` (0700) and its missing parents (as the umask says), durably; one that exists stays as it is.

    Raises CannotCreateError.
    """
    folder = path
    try:
        missing = [parent for parent in (path, *path.parents) if not parent.is_dir()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            if folder == path:
                _set_mode(path, FOLDER_MODE)
            crash_point("folder:after-create")
            _sync_folder(folder.parent)
    except OSError as error:
        raise cannot_create(error, folder) from error


def create_file(path: Path) -> int:
    """Create an empty file (0600) that must not exist yet, and return a descriptor that appends to it.

    Raises CannotCreateError. The name is durable only after `sync_folder`.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        try:
            _set_mode(descriptor, FILE_MODE)
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        raise cannot_create(error, path) from error
    return descriptor


def write_atomically(target: Path, data: bytes, *, staging: Path) -> None:
    """Put `data` at `target`, replacing what is there: a crash leaves the old content or the new, never a mixture.

    `staging` is a folder on the same file system (a run's `_tmp/`). Durable on return. Raises CannotCreateError,
    StorageError; after an error the old content, if there was one, may stand or be replaced, but is never damaged.
    """
    staged = staging / f"{secrets.token_hex(8)}.tmp"
    descriptor = create_file(staged)
    try:
        crash_point("atomic:after-create")
        _fill_and_close(descriptor, data, staged)
        crash_point("atomic:after-sync")
        with _failing_as_storage_error("rename a finished file to", target):
            staged.rename(target)
    except StorageError:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        raise
    crash_point("atomic:after-rename")
    sync_folder(target.parent)
    crash_point("atomic:after-folder-sync")


def publish(staged: Path, target: Path) -> None:
    """Move a finished file, already synced (`sync_file`), to its place; durable on return. Raises StorageError."""
    crash_point("publish:before-rename")
    with _failing_as_storage_error("rename a finished file to", target):
        staged.rename(target)
    crash_point("publish:after-rename")
    sync_folder(target.parent)
    if staged.parent != target.parent:
        sync_folder(staged.parent)
    crash_point("publish:after-folder-sync")


def sync_file(path: Path) -> None:
    """Make the content of a file durable that somebody else wrote and closed. Raises StorageError."""
    with _failing_as_sync_error(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable: those created, renamed and removed. Raises StorageError."""
    with _failing_as_sync_error(path):
        _sync_folder(path)


def cut_file(path: Path, size_bytes: int) -> None:
    """Drop everything behind the first `size_bytes` of a file; durable on return. Raises StorageError."""
    with _failing_as_storage_error("cut", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, size_bytes)
            crash_point("repair:after-cut")
            os.fsync(descriptor)
            crash_point("repair:after-sync")
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file; one that is gone already is fine. Raises StorageError.

    Not synced: what a run removes is named by a durable commit, and a power loss that brings it back is harmless.
    """
    crash_point("remove:before")
    with _failing_as_storage_error("remove", path):
        path.unlink(missing_ok=True)
    crash_point("remove:after")


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, in as many pieces as the kernel takes it. OSError is left to the caller, who must react."""
    rest = memoryview(data)
    while rest:
        written = os.write(descriptor, rest)
        if written == 0:
            raise OSError(errno.EIO, "the file takes no more bytes and the system does not say why")
        rest = rest[written:]


def sync_data(descriptor: int) -> None:
    """Make a file's content durable, its size included. OSError is left to the caller, who must not call again."""
    if sys.platform == "darwin":  # has no fdatasync
        os.fsync(descriptor)
    else:
        os.fdatasync(descriptor)


def storage_error(error: OSError, action: str, path: Path) -> StorageError:
    """Turn an OSError met while trying to `action` the file (`write to`, `rename`, …) into what the user reads."""
    if error.errno in _FULL:
        message = f"cannot {action} {path}: {_FULL[error.errno]}; what was acknowledged before is safe on disk"
        return StorageError(message, hint=_FULL_HINT)
    hint = _HINTS.get(error.errno or 0, "check the disk, then run the same command again")
    return StorageError(f"cannot {action} {path}: {_reason(error)}", hint=hint)


def sync_error(error: OSError, path: Path) -> StorageError:
    """Turn a failed fsync into what the user reads: nothing since the last good sync may be believed."""
    return StorageError(
        f"cannot sync {path}: {_FULL.get(error.errno or 0, _reason(error))}; "
        "what was acknowledged before is safe, whether later writes reached the disk is unknown",
        hint="check the disk (the kernel log names the fault), then run the same command again: "
        "it reads what is really there and continues",
    )


def cannot_create(error: OSError, path: Path) -> CannotCreateError:
    """Turn an OSError met while creating a file or folder into what the user reads."""
    if error.errno in _FULL:
        return CannotCreateError(f"cannot create {path}: {_FULL[error.errno]}", hint=_FULL_HINT)
    hint = _HINTS.get(error.errno or 0, "choose another folder")
    return CannotCreateError(f"cannot create {path}: {_reason(error)}", hint=hint)


def _fill_and_close(descriptor: int, data: bytes, path: Path) -> None:
    try:
        with _failing_as_storage_error("write to", path):
            write_all(descriptor, data)
        crash_point("atomic:after-write")
        with _failing_as_sync_error(path):
            os.fsync(descriptor)
    finally:
        # The content is synced or given up: what close may still report changes neither.
        with suppress(OSError):
            os.close(descriptor)


def _set_mode(file: Path | int, mode: int) -> None:
    # Against a umask that takes too much. Its maker may always change a file's mode, unless the file system has none.
    with suppress(PermissionError):
        os.chmod(file, mode)  # noqa: PTH101 - takes a descriptor too


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _failing_as_storage_error(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, action, path) from error


@contextmanager
def _failing_as_sync_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise sync_error(error, path) from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
