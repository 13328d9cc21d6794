"""Shows that no failing system call, wherever it strikes, costs an acknowledged frame or leaves one that is wrong."""

from __future__ import annotations

import errno
import operator
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from runner import durable
from runner.errors import CannotCreateError, StorageError
from runner.journal import SegmentHeader, SegmentWriter, list_segments, repair_tail, scan_segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.journal import FrameType

    Entry = tuple[FrameType, bytes]

CALLS = ["open", "write", "fdatasync", "fsync", "ftruncate", "rename", "mkdir", "chmod", "unlink", "close"]
SYNCS = {"fdatasync", "fsync"}


@dataclass
class Syscalls:
    """Counts the calls; those whose number `fails` accepts raise, a failing write takes half of its bytes first."""

    fails: Callable[[int], bool]
    code: int
    made: int = 0
    failed: list[tuple[str, Any]] = field(default_factory=list)
    synced_after_failure: bool = False

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        for name in CALLS:
            patch.setattr(os, name, self._failing(name, getattr(os, name)))

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.made += 1
            self.synced_after_failure |= name in SYNCS and (name, arguments[0]) in self.failed
            if not self.fails(self.made):
                return real(*arguments, **options)
            self.failed.append((name, arguments[0]))
            if name == "write" and len(arguments[1]) > 1:
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if name == "close":
                real(*arguments)
            raise OSError(self.code, os.strerror(self.code))

        return call


@dataclass
class Session:
    """What a run does with its folder, and what was promised while it did."""

    folder: Path
    acknowledged: int = 0
    manifest_is_new: bool = False
    errors: list[str] = field(default_factory=list)

    def work(self, groups: list[list[Entry]]) -> None:
        journal, staging = self.folder / "_journal", self.folder / "_tmp"
        durable.create_folder(journal)
        durable.create_folder(staging)
        writer = SegmentWriter.open(journal, SegmentHeader("run", 1, "beef"))
        try:
            for group in groups:
                for kind, payload in group:
                    writer.append(kind, payload)
                self.commit(writer)
            self.commit(writer)  # what a full disk kept back
        finally:
            self.acknowledged = writer.frames
            writer.close()
        durable.write_atomically(self.folder / "manifest.json", b"new", staging=staging)
        self.manifest_is_new = True
        part = staging / "part"
        os.close(durable.create_file(part))
        durable.sync_file(part)
        durable.publish(part, self.folder / "part-1")
        durable.remove(self.folder / "part-1")

    def commit(self, writer: SegmentWriter) -> None:
        try:
            writer.commit()
        except StorageError as error:
            self.errors.append(error.message)
        self.acknowledged = writer.frames


def check(session: Session, groups: list[list[Entry]]) -> None:
    whole = [entry for group in groups for entry in group]
    journal = session.folder / "_journal"
    segments = list_segments(journal).paths if journal.is_dir() else ()
    found: list[Entry] = []
    for path in segments:
        scan = scan_segment(path, run_id="run")
        found.extend((frame.kind, frame.payload) for frame in scan)
        assert scan.end is not None
        repair_tail(path, scan.end.good_bytes)
        assert [(frame.kind, frame.payload) for frame in scan_segment(path)] == found
    assert found == whole[: len(found)]
    assert len(found) >= session.acknowledged
    manifest = (session.folder / "manifest.json").read_bytes()
    assert manifest == b"new" if session.manifest_is_new else manifest in (b"old", b"new")
    assert not (session.folder / "part-1").exists() or (session.folder / "part-1").read_bytes() == b""


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_every_system_call_may_fail(tmp_path: Path, groups: list[list[Entry]], code: int, *, lasting: bool) -> None:
    strikes, struck = 1, set()
    while True:
        folder = tmp_path / str(strikes)
        folder.mkdir()
        (folder / "manifest.json").write_bytes(b"old")
        session = Session(folder)
        syscalls = Syscalls(partial(operator.le if lasting else operator.eq, strikes), code)
        raised = None
        with pytest.MonkeyPatch.context() as patch:
            syscalls.patch(patch)
            try:
                session.work(groups[:4])
            except (StorageError, CannotCreateError, OSError) as error:
                raised = error
        if not syscalls.failed:
            break
        struck.add(syscalls.failed[0][0])
        # Only the one `os.close` that the workload itself makes may show as the OSError that it is.
        assert isinstance(raised, StorageError | CannotCreateError | None) or syscalls.failed[0][0] == "close"
        assert not syscalls.synced_after_failure
        check(session, groups[:4])
        strikes += 1
    assert session.acknowledged == sum(map(len, groups[:4]))
    assert session.errors == []
    # A sound disk makes no `ftruncate`: where it fails is shown in test_segment.py.
    assert struck == set(CALLS) - {"ftruncate"}


@pytest.mark.parametrize("first", range(1, 40))
def test_after_a_write_fails_the_next_call_may_fail_too(tmp_path: Path, groups: list[list[Entry]], first: int) -> None:
    (tmp_path / "manifest.json").write_bytes(b"old")
    session = Session(tmp_path)
    syscalls = Syscalls(lambda made: made in {first, first + 1}, errno.ENOSPC)
    with pytest.MonkeyPatch.context() as patch:
        syscalls.patch(patch)
        try:
            session.work(groups[:4])
        except (StorageError, CannotCreateError, OSError) as error:
            session.errors.append(str(error))
    assert [name for name, _ in syscalls.failed] != []
    assert session.errors != [] or {name for name, _ in syscalls.failed} <= {"write", "ftruncate", "close", "unlink"}
    assert not syscalls.synced_after_failure
    check(session, groups[:4])
