"""Owns the commit log: what is not in a numbered commit did not happen.

A commit is written first, then applied. Its files lie finished and fsynced in `_tmp/`; the commit file names them with
size and CRC-32; only then are they renamed into their tables. So whatever a glob finds in a table is committed, a
rewritten part replaces the old one of the same name in one rename, and a crash at any instant leaves either no commit
(the staged files are rubbish) or a commit whose renames are simply done again.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from runner.crash_points import crash_point
from runner.durable import publish, remove, sync_folder, write_atomically
from runner.errors import DamagedError
from runner.folder.totals import Totals, totals_from_json

if TYPE_CHECKING:
    from pathlib import Path

    from runner.folder.layout import RunFolder


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """A file that a commit puts in place: `folder` is a table (`scores/<id>` of scores), or `_commits` for an index."""

    folder: str
    name: str
    rows: int
    bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One step of the run folder: files put in place, files taken away, journal segments now contained in them."""

    number: int
    kind: str
    files: tuple[CommittedFile, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    segments: tuple[int, ...] = ()
    totals: Totals = field(default_factory=Totals)


@dataclass(slots=True)
class CommitLog:
    """What all commits of a run add up to, and the last of them: a run of days makes thousands."""

    folder: RunFolder
    last: Commit | None = None
    files: dict[tuple[str, str], CommittedFile] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    sealed_segments: set[int] = field(default_factory=set)
    last_crc32: int = 0

    @property
    def next_number(self) -> int:
        """Return the number of the next commit; the first is 1."""
        return self.last.number + 1 if self.last else 1

    def parts(self, table: str) -> list[CommittedFile]:
        """Return the committed parts of one table by name."""
        return sorted((f for (where, _), f in self.files.items() if where == table), key=lambda f: f.name)

    def append(self, commit: Commit) -> None:
        """Make a commit durable, then apply it. Raises StorageError; then the commit did or did not happen, wholly."""
        body, crc32 = _encode(commit, self.last_crc32)
        write_atomically(self.folder.commit(commit.number), body, staging=self.folder.staging)
        crash_point("commit:after-commit-file")
        self.last_crc32 = crc32
        self.add(commit)
        self._apply(commit)

    def apply_last(self) -> None:
        """Do the renames of the last commit again, as recovery after a crash: those that are done are no-ops."""
        if self.last is not None:
            self._apply(self.last)
            # The crash may have come between a rename and the sync of its folder.
            for where in {file.folder for file in self.last.files}:
                sync_folder(self.folder.root / where)

    def add(self, commit: Commit) -> None:
        """Take a durable commit into the sums."""
        self.last = commit
        for place in commit.removed:
            self.files.pop(place, None)
        for file in commit.files:
            self.files[file.folder, file.name] = file
        self.totals.add(commit.totals)
        self.sealed_segments.update(commit.segments)

    def _apply(self, commit: Commit) -> None:
        for file in commit.files:
            staged = staged_path(self.folder, commit.number, file.folder, file.name)
            if staged.exists():
                publish(staged, self.folder.root / file.folder / file.name)
                crash_point("commit:after-rename")
        for where, name in commit.removed:
            remove(self.folder.root / where / name)
        for where in {where for where, _ in commit.removed}:
            if (self.folder.root / where).is_dir():  # an earlier scoring's folder is removed once it is empty
                sync_folder(self.folder.root / where)


def staged_path(folder: RunFolder, commit: int, where: str, name: str) -> Path:
    """Return where a file waits for its commit."""
    return folder.staging / f"{commit:06d}.{where.replace('/', '-')}.{name}"


def read_commits(folder: RunFolder) -> CommitLog:
    """Read the commit log. Raises DamagedError naming the first commit that is missing or fails its checksum."""
    log = CommitLog(folder)
    numbers = [int(path.stem) for path in _commit_files(folder)]
    for expected, number in enumerate(numbers, start=1):
        if number != expected:
            raise DamagedError(f"{folder.commit(expected)}: the commit is missing", hint=_SALVAGE)
        commit, crc32 = _decode(folder.commit(number), log.last_crc32)
        log.add(commit)
        log.last_crc32 = crc32
    return log


def read_sound_commits(folder: RunFolder) -> CommitLog:
    """Read every commit that is sound by itself, whatever is missing between them, for saving what can be saved."""
    log = CommitLog(folder)
    for path in _commit_files(folder):
        try:
            commit, log.last_crc32 = _decode(path, None)
        except DamagedError:
            continue
        log.add(commit)
    return log


def read_last_commit(folder: RunFolder) -> Commit | None:
    """Return the last commit, for readers; null where there is none, or where it is damaged, which `verify` says."""
    last = max(_commit_files(folder), default=None)
    if last is None:
        return None
    try:
        return _decode(last, None)[0]
    except DamagedError:
        return None


def _commit_files(folder: RunFolder) -> list[Path]:
    return sorted(path for path in folder.commits.glob("*.json") if path.stem.isdecimal())


_SALVAGE = "`evalrunner verify RUN_DIR --salvage DIR` copies all that is sound"


def _encode(commit: Commit, previous_crc32: int) -> tuple[bytes, int]:
    body = orjson.dumps(
        {
            "commit": commit.number,
            "kind": commit.kind,
            "previous_crc32": previous_crc32,
            "segments": commit.segments,
            "files": [[f.folder, f.name, f.rows, f.bytes, f.crc32] for f in commit.files],
            "removed": commit.removed,
            "totals": commit.totals.to_json(),
        }
    )
    crc32 = zlib.crc32(body)
    return b'{"crc32":%d,\n"body":%s}\n' % (crc32, body), crc32


def _decode(path: Path, previous_crc32: int | None) -> tuple[Commit, int]:
    try:
        data = path.read_bytes()
        start = data.index(b"\n")
        crc32 = int(data[len(b'{"crc32":') : start].rstrip(b","))
        body = data[start + len(b'\n"body":') : -len(b"}\n")]
        if zlib.crc32(body) != crc32:
            raise ValueError("checksum")
        content: dict[str, Any] = orjson.loads(body)
        if previous_crc32 is not None and content["previous_crc32"] != previous_crc32:
            raise ValueError("chain")
        return _commit_from(content), crc32
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path}: the commit is damaged ({error})", hint=_SALVAGE) from error


def _commit_from(content: dict[str, Any]) -> Commit:
    return Commit(
        number=content["commit"],
        kind=content["kind"],
        files=tuple(CommittedFile(*file) for file in content["files"]),
        removed=tuple((where, name) for where, name in content["removed"]),
        segments=tuple(content["segments"]),
        totals=totals_from_json(content["totals"]),
    )
