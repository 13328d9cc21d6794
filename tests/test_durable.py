"""Shows that files appear whole or not at all, are private, and that every failure is told in words that help."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner import durable
from runner.errors import CannotCreateError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "_tmp"
    folder.mkdir()
    return folder


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fail(code: int) -> Callable[..., Any]:
    def failing(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return failing


@pytest.mark.usefixtures("umask")
def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    durable.create_folder(tmp_path / "run")
    durable.create_folder(tmp_path / "run" / "_tmp")
    os.close(durable.create_file(tmp_path / "run" / "file"))
    durable.write_atomically(tmp_path / "run" / "manifest.json", b"{}", staging=tmp_path / "run" / "_tmp")
    assert mode(tmp_path / "run") == mode(tmp_path / "run" / "_tmp") == 0o700
    assert mode(tmp_path / "run" / "file") == mode(tmp_path / "run" / "manifest.json") == 0o600


def test_a_folder_is_made_with_its_parents_and_may_exist(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c"
    durable.create_folder(folder)
    assert mode(folder) == 0o700
    folder.chmod(0o750)
    durable.create_folder(folder)
    assert mode(folder) == 0o750


def test_every_new_folder_is_made_durable_in_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").readlink()), real(fd)))
    durable.create_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(CannotCreateError, match=r"cannot create .*/taken: File exists") as caught:
        durable.create_folder(tmp_path / "taken")
    assert "move it away" in caught.value.hint
    with pytest.raises(CannotCreateError, match=r"cannot create .*/taken: File exists"):
        durable.create_folder(tmp_path / "taken" / "run")
    with pytest.raises(CannotCreateError, match=r"cannot create .*/taken/file: Not a directory") as caught:
        durable.create_file(tmp_path / "taken" / "file")
    assert "choose another folder" in caught.value.hint
    with pytest.raises(CannotCreateError, match="File name too long") as caught:
        durable.create_folder(tmp_path / ("n" * 300))
    assert caught.value.hint == "choose a shorter name"


def test_a_file_is_created_once_and_appended_to(tmp_path: Path) -> None:
    descriptor = durable.create_file(tmp_path / "file")
    durable.write_all(descriptor, b"one")
    os.ftruncate(descriptor, 1)
    durable.write_all(descriptor, b"two")
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"otwo"
    with pytest.raises(CannotCreateError, match="File exists"):
        durable.create_file(tmp_path / "file")


def test_a_file_system_without_modes_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "chmod", fail(errno.EPERM))
    durable.create_folder(tmp_path / "run")
    os.close(durable.create_file(tmp_path / "run" / "file"))
    assert (tmp_path / "run" / "file").exists()


def test_a_file_whose_mode_cannot_be_set_is_not_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "chmod", fail(errno.EIO))
    with pytest.raises(CannotCreateError, match="Input/output error"):
        durable.create_file(tmp_path / "file")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_write_goes_on_until_all_is_written(tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    durable.write_atomically(tmp_path / "target", b"0123456789", staging=staging)
    assert (tmp_path / "target").read_bytes() == b"0123456789"


def test_writing_replaces_and_leaves_nothing_behind(tmp_path: Path, staging: Path) -> None:
    for content in (b"first", b"", b"third"):
        durable.write_atomically(tmp_path / "target", content, staging=staging)
        assert (tmp_path / "target").read_bytes() == content
    assert list(staging.iterdir()) == []


@dataclass
class Recorder:
    """Writes down what happens to files, in order."""

    log: list[str] = field(default_factory=list)

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        real_write, real_fsync, real_rename = os.write, os.fsync, os.rename

        def fsync(descriptor: int) -> None:
            self.log.append("sync file" if stat.S_ISREG(os.fstat(descriptor).st_mode) else "sync folder")
            real_fsync(descriptor)

        def note(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *arguments: (self.log.append(name), real(*arguments))[1]

        patch.setattr(os, "write", note("write", real_write))
        patch.setattr(os, "rename", note("rename", real_rename))
        patch.setattr(os, "fsync", fsync)


def legal_states(log: list[str]) -> set[str]:
    """Return what the target may hold if the power goes after `log`: what was not synced may or may not be there."""
    content_is_whole = "sync file" in log
    name_is_durable = "rename" in log and "sync folder" in log[log.index("rename") :]
    states = set()
    for content_made_it, name_made_it in product([True, False], repeat=2):
        if "rename" in log and (name_made_it or name_is_durable):
            states.add("new" if content_is_whole or content_made_it else "torn")
        else:
            states.add("old")
    return states


def test_whenever_the_power_goes_the_old_content_or_the_new_is_there(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    recorder.patch(monkeypatch)
    durable.write_atomically(tmp_path / "target", b"new", staging=staging)
    for instant in range(len(recorder.log)):
        assert legal_states(recorder.log[:instant]) <= {"old", "new"}
    assert legal_states(recorder.log) == {"new"}


def test_a_published_file_is_whole_and_durable_under_its_name(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = staging / "part"
    part.write_bytes(b"part")
    recorder = Recorder()
    recorder.patch(monkeypatch)
    durable.sync_file(part)
    durable.publish(part, tmp_path / "part-000001")
    assert (tmp_path / "part-000001").read_bytes() == b"part"
    for instant in range(len(recorder.log)):
        assert legal_states(recorder.log[:instant]) <= {"old", "new"}
    assert recorder.log == ["sync file", "rename", "sync folder", "sync folder"]


def test_publishing_within_a_folder_syncs_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "part").touch()
    recorder = Recorder()
    recorder.patch(monkeypatch)
    durable.publish(tmp_path / "part", tmp_path / "part-000001")
    assert recorder.log == ["rename", "sync folder"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full; what was acknowledged before is safe"),
        (errno.EDQUOT, "the disk is full for this user .quota.; what was acknowledged before is safe"),
        (errno.EFBIG, "the disk is full as far as this process may use it .*ulimit -f"),
    ],
)
def test_a_full_disk_is_called_so_and_the_old_content_stays(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "write", fail(code))
    with pytest.raises(StorageError, match=words) as caught:
        durable.write_atomically(target, b"new", staging=staging)
    assert "run the same command again" in caught.value.hint
    assert caught.value.exit_code == 74
    assert target.read_bytes() == b"old"
    assert list(staging.iterdir()) == []


def test_a_full_disk_at_creation_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", fail(errno.ENOSPC))
    with pytest.raises(CannotCreateError, match=r"cannot create .*: the disk is full$") as caught:
        durable.create_file(tmp_path / "file")
    assert "free some space" in caught.value.hint
    assert caught.value.exit_code == 73


@pytest.mark.parametrize(("call", "words"), [("fsync", "cannot sync"), ("rename", "cannot rename a finished file to")])
def test_a_failure_before_the_rename_leaves_the_old_content_and_no_litter(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch, call: str, words: str
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, call, fail(errno.EIO))
    with pytest.raises(StorageError, match=rf"{words} .*Input/output error"):
        durable.write_atomically(target, b"new", staging=staging)
    assert target.read_bytes() == b"old"
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failed_sync_is_never_tried_again(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "part").touch()
    calls = []

    def sync(descriptor: int) -> None:
        calls.append(descriptor)
        fail(code)()

    monkeypatch.setattr(os, "fsync", sync)
    acts = [
        lambda: durable.sync_file(tmp_path / "part"),
        lambda: durable.sync_folder(tmp_path),
        lambda: durable.write_atomically(tmp_path / "target", b"x", staging=staging),
        lambda: durable.publish(tmp_path / "part", tmp_path / "part-1"),
    ]
    for number, act in enumerate(acts, 1):
        with pytest.raises(StorageError, match=r"cannot sync .* is unknown"):
            act()
        assert len(calls) == number


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_no_obstacle(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = os.fsync

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            fail(code)()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    durable.write_atomically(tmp_path / "target", b"new", staging=staging)
    assert (tmp_path / "target").read_bytes() == b"new"


def test_an_error_of_close_after_the_sync_takes_nothing_back(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.close

    def close(descriptor: int) -> None:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        real(descriptor)
        if regular:
            fail(errno.EIO)()

    monkeypatch.setattr(os, "close", close)
    durable.write_atomically(tmp_path / "target", b"new", staging=staging)
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_cut_file_keeps_its_beginning_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    recorder = Recorder()
    recorder.patch(monkeypatch)
    durable.cut_file(tmp_path / "file", 4)
    assert (tmp_path / "file").read_bytes() == b"0123"
    assert recorder.log == ["sync file"]
    with pytest.raises(StorageError, match=r"cannot cut .*/missing: No such file"):
        durable.cut_file(tmp_path / "missing", 4)


def test_removing_twice_is_fine_and_a_folder_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    durable.remove(tmp_path / "file")
    durable.remove(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match="cannot remove"):
        durable.remove(tmp_path)


def test_what_is_not_there_cannot_be_synced_or_published(tmp_path: Path) -> None:
    for act in (durable.sync_file, durable.sync_folder):
        with pytest.raises(StorageError, match=r"cannot sync .*No such file"):
            act(tmp_path / "missing")
    with pytest.raises(StorageError, match=r"cannot rename a finished file to .*No such file"):
        durable.publish(tmp_path / "missing", tmp_path / "target")


@pytest.mark.parametrize(
    ("code", "hint"),
    [(errno.EROFS, "read-only"), (errno.EACCES, "permissions"), (errno.EPERM, "permissions"), (errno.EIO, "the disk")],
)
def test_the_hint_fits_the_error(tmp_path: Path, code: int, hint: str) -> None:
    assert hint in durable.storage_error(OSError(code, "x"), "write to", tmp_path).hint


def test_an_error_without_a_number_keeps_its_own_words(tmp_path: Path) -> None:
    error = OSError("strange")
    assert durable.storage_error(error, "read", tmp_path).message == f"cannot read {tmp_path}: strange"
    assert durable.sync_error(error, tmp_path).message.startswith(f"cannot sync {tmp_path}: strange;")
    assert durable.cannot_create(error, tmp_path).message == f"cannot create {tmp_path}: strange"
