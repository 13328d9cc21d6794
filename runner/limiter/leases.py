"""Owns the files by which processes that share a limit know of each other: one each, held by `flock` while it lives.

The kernel frees a lock when its process dies, however it dies: whoever gets the lock of another's file removes it.
All reading and writing is done under the folder's own lock, held for a moment. Everything here blocks, so it belongs
in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from runner.digest import canonical_json
from runner.durable import FILE_MODE, FOLDER_MODE, create_folder
from runner.limiter.headers import Unit
from runner.limiter.shares import Claim, renewed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# A process that has not written for so long is stopped or suspended: it sends nothing.
STALE_S = 5.0
_PATIENCE_S = 0.2
_POLL_S = 0.005
_BYTES = 1 << 11
_SALT_BYTES = 32
_LOCK, _SALT, _SUFFIX = "lock", "salt", ".lease"
_SIZE = 3


@dataclass(frozen=True, slots=True)
class Group:
    """What is limited as one: a server, a key and a model. The key stays in memory."""

    server: str
    model: str | None
    api_key: str | None = field(repr=False)


class LockBusyError(Exception):
    """The folder's lock was not to be had in time."""


class Lease:
    """A process's place among those that share a limit. OSError and CannotCreateError are left to the caller.

    `limits` is the folder of all groups, in the user's cache; `run_id` is what `status` finds the process by.
    """

    def __init__(self, limits: Path, group: Group, run_id: str) -> None:
        create_folder(limits)
        self._folder = limits / _group_name(group, _salt(limits))
        self._path = self._folder / f"{secrets.token_hex(8)}{_SUFFIX}"
        self._run_id = run_id
        self._file: int | None = None

    def renew(self, claims: Mapping[Unit, Claim]) -> tuple[dict[Unit, Claim], int]:
        """Return the claims with what may be used from now on, and how many others there are; tell them.

        Raises LockBusyError, after which everything is as before.
        """
        self._folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            _lock_soon(lock)
            os.utime(lock)
            if self._file is None or not os.fstat(self._file).st_nlink:  # somebody cleared the cache
                self._file = self._enter()
            paths = [path for path in _leases(self._folder) if path != self._path]
            others = [said for path in paths if (said := _said(path, lock)) is not None]
            mine = renewed(claims, others)
            self._say(self._file, mine)
            return mine, len(others)
        finally:
            os.close(lock)

    def leave(self) -> None:
        """Give everything back; never raises."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._close()

    def _enter(self) -> int:
        self._close()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _say(self, descriptor: int, claims: Mapping[Unit, Claim]) -> None:
        stated = {unit.value: [one.limit, one.wanted, one.granted] for unit, one in claims.items()}
        text = orjson.dumps({"run_id": self._run_id, "claims": stated})
        # Always as long and in one piece: `sharing_with` reads it without the lock.
        os.pwrite(descriptor, text.ljust(_BYTES), 0)

    def _close(self) -> None:
        descriptor, self._file = self._file, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def sharing_with(limits: Path, run_id: str) -> int | None:
    """Return with how many other processes a run shares its limits now; null where it does not take part."""
    try:
        folders = [folder for folder in limits.iterdir() if folder.is_dir()]
    except OSError:
        return None
    for folder in folders:
        living = [run for path in _leases(folder) if (run := _living_run(path)) is not None]
        if run_id in living:
            return len(living) - 1
    return None


def _group_name(group: Group, salt: bytes) -> str:
    """Return a name that says nothing of the key: without the salt not even to whoever guesses it."""
    what = canonical_json([group.server, group.model, group.api_key])
    try:
        return hashlib.scrypt(what, salt=salt, n=1 << 14, r=8, p=1, dklen=16).hex()
    except (AttributeError, ValueError) as error:  # OpenSSL was built, or told, to go without it
        raise OSError("this Python has no scrypt to hide the key with") from error


def _salt(limits: Path) -> bytes:
    path = limits / _SALT
    if not path.exists():
        staged = limits / f"{_SALT}.{secrets.token_hex(8)}"
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            with contextlib.closing(os.fdopen(descriptor, "wb")) as file:
                file.write(secrets.token_bytes(_SALT_BYTES))
            with contextlib.suppress(FileExistsError):  # another process was first, and its salt counts
                os.link(staged, path)
        finally:
            staged.unlink(missing_ok=True)
    salt = path.read_bytes()
    if len(salt) != _SALT_BYTES:
        raise OSError(f"{path}: is damaged; remove it")
    return salt


def _lock_soon(descriptor: int) -> None:
    last = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > last:
                raise LockBusyError from None
            time.sleep(_POLL_S)
        else:
            return


def _leases(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)
    except OSError:
        return []


def _said(path: Path, lock: int) -> dict[Unit, Claim] | None:
    """Return what another process says; null where it is dead, stopped, or says nothing that makes sense."""
    with _opened(path) as descriptor:
        if descriptor is None:
            return None
        if not _held(descriptor):
            path.unlink(missing_ok=True)
            return None
        # Both times are the file system's own, whatever a clock shows.
        if os.fstat(lock).st_mtime - os.fstat(descriptor).st_mtime > STALE_S:
            return None
        return _claims_in(os.read(descriptor, _BYTES))


def _living_run(path: Path) -> str | None:
    with _opened(path) as descriptor:
        if descriptor is None or not _held(descriptor):
            return None
        try:
            return str(orjson.loads(os.read(descriptor, _BYTES))["run_id"])
        except (ValueError, KeyError, TypeError):
            return ""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # gone in the meantime
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _held(descriptor: int) -> bool:
    # Shared, so that two who look at the same time do not take each other for the holder.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _claims_in(text: bytes) -> dict[Unit, Claim] | None:
    try:
        stated = orjson.loads(text)["claims"]
        return {Unit(name): _claim(numbers) for name, numbers in stated.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _claim(numbers: list[float]) -> Claim:
    if len(numbers) != _SIZE or not all(0.0 <= number < float("inf") for number in numbers) or not numbers[0]:
        raise ValueError(numbers)
    return Claim(*numbers)
