"""Owns the parts of a run as they stand at one instant, open, so that whatever replaces them disturbs no reader.

A part is replaced by a rename, and a commit may rename several, one after the other. What counts is the commit: its
files that still lie in `_tmp/` are opened there, and parts are opened anew where another commit came meanwhile. An open
file stays what it was when its name is given to another one.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runner.errors import BusyError, RunFolderError
from runner.folder.commits import read_last_commit, staged_path
from runner.folder.layout import scores_table
from runner.folder.manifest import read_manifest
from runner.sinks.parts import naming_damage, row_groups, row_groups_with
from runner.sinks.select import rows_of
from runner.sinks.values import small_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from runner.folder.layout import RunFolder

SCORES = "scores"
_T = TypeVar("_T")
# So many files are held open at once: systems let a process have a thousand or fewer.
MOST_OPEN = 400
_TRIES = 1_000
_READINGS = 5


class _Identity(NamedTuple):
    """What tells one file from another that took its name."""

    inode: int
    size: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class PartFile:
    """One part of one table; `held` is null where too many are open already."""

    path: Path
    identity: _Identity
    held: pa.NativeFile | None

    def open(self) -> pa.NativeFile:
        """Return the file as it was at the snapshot's instant. Raises BusyError where it has been replaced since."""
        if self.held is not None:
            return self.held
        with suppress(FileNotFoundError):
            file = pa.OSFile(str(self.path))
            if _identity(self.path) == self.identity:
                return file
            file.close()
        raise BusyError(f"{self.path}: was replaced while the run was read", hint="a session is at work; read again")

    def parquet(self, *, checked: bool = False) -> pq.ParquetFile:
        """Open the part's Parquet, with page checksums verified if `checked`. Raises DamagedError, BusyError."""
        file = self.open()
        with naming_damage(self.path):
            return pq.ParquetFile(file, page_checksum_verification=checked)

    @property
    def rows(self) -> int:
        """How many rows the part has. Raises DamagedError, BusyError."""
        count: int = self.parquet().metadata.num_rows
        return count

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns, about a megabyte at a time, page checksums verified. Raises DamagedError, BusyError."""
        file = self.parquet(checked=True)
        with naming_damage(self.path):
            yield from small_batches(row_groups(file, columns))

    def rows_at(self, places: Sequence[int], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield some columns of the rows at some places, in order. Raises DamagedError, BusyError."""
        file, wanted = self.parquet(checked=True), np.array(sorted(places), dtype=np.int64)
        with naming_damage(self.path):
            yield from rows_of(row_groups_with(file, wanted, columns), wanted, columns)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Parts by table and name, in the order of their names; scores, if wanted, as the table `scores`."""

    folder: RunFolder
    tables: Mapping[str, Mapping[str, PartFile]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for parts in self.tables.values():
            _close(parts)

    def schema(self, table: str) -> pa.Schema:
        """Return a table's columns, none where it has no part."""
        first = next(iter(self.tables.get(table, {}).values()), None)
        return pa.schema([]) if first is None else first.parquet().schema_arrow


def take_snapshot(folder: RunFolder, tables: Sequence[str], *, most_open: int = MOST_OPEN) -> Snapshot:
    """Open the parts of some tables as one commit has left them, at most so many; `scores` are those that count.

    A table without parts has none. Raises RunFolderError where the system allows too few open files, BusyError where
    commits follow each other too quickly.
    """
    for _ in range(_TRIES):
        opened: dict[str, dict[str, PartFile]] = {}
        before = read_last_commit(folder)
        number = before.number if before else 0
        try:
            for table, where in _folders(folder, tables).items():
                opened[table] = {}
                staged = {file.name for file in before.files if file.folder == where} if before else set()
                listed = {path.name for path in folder.table(where).glob("part-*.parquet")} if where else set()
                for name in sorted(staged | listed):
                    paths = [folder.table(where) / name]
                    if name in staged:
                        paths.insert(0, staged_path(folder, number, where, name))
                    opened[table][name] = _open_first(paths, hold=sum(map(len, opened.values())) < most_open)
        except FileNotFoundError:
            pass  # what was listed is gone: the next commit is there
        except OSError as error:
            Snapshot(folder, opened).__exit__(None, None, None)
            raise _not_opened(folder, error) from error
        else:
            after = read_last_commit(folder)
            if number == (after.number if after else 0):
                return Snapshot(folder, opened)
        Snapshot(folder, opened).__exit__(None, None, None)
    raise BusyError(f"{folder.root}: its parts are replaced faster than they can be opened", hint="read again later")


def read_anew(read: Callable[[], _T]) -> _T:
    """Return what `read` returns, which opens snapshots of its own; of BusyError only the fifth is raised.

    Of a run with more parts than are held open, one may be replaced while it is read: then reading begins anew.
    """
    for _ in range(_READINGS - 1):
        with suppress(BusyError):
            return read()
    return read()


def _folders(folder: RunFolder, tables: Sequence[str]) -> dict[str, str]:
    """Return where each table lies; scores that nobody made lie nowhere."""
    where = {table: table for table in tables}
    if SCORES in where:
        scoring = read_manifest(folder).scoring if folder.manifest.exists() else ""
        where[SCORES] = scores_table(scoring) if scoring else ""
    return where


def _open_first(paths: Sequence[Path], *, hold: bool) -> PartFile:
    """Open the first of some paths that is there. Raises FileNotFoundError where none is."""
    for path in paths[:-1]:
        with suppress(FileNotFoundError):
            return _open_one(path, hold=hold)
    return _open_one(paths[-1], hold=hold)


def _open_one(path: Path, *, hold: bool) -> PartFile:
    held = pa.OSFile(str(path)) if hold else None
    try:
        return PartFile(path, _identity(path), held)
    except FileNotFoundError:
        if held is not None:
            held.close()
        raise


def _identity(path: Path) -> _Identity:
    found = path.stat()
    return _Identity(found.st_ino, found.st_size, found.st_mtime_ns)


def _close(parts: Mapping[str, PartFile]) -> None:
    for part in parts.values():
        if part.held is not None:
            part.held.close()


def _not_opened(folder: RunFolder, error: OSError) -> RunFolderError:
    many = error.errno in {errno.EMFILE, errno.ENFILE}
    return RunFolderError(
        f"{folder.root}: cannot be read: {error.strerror or error}",
        hint="raise the limit of open files (`ulimit -n`), or read fewer runs at once" if many else "",
    )
