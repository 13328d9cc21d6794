from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest

from runner.errors import DamagedError
from runner.folder.commits import Commit, CommitLog, CommittedFile, read_commits, read_sound_commits, staged_path
from runner.folder.layout import TABLES, RunFolder, part_name
from runner.folder.totals import Totals
from runner.sinks import file_crc32

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    for path in (made.root, made.staging, made.journal, made.commits, *map(made.table, TABLES)):
        path.mkdir()
    return made


def stage(folder: RunFolder, number: int, content: bytes, name: str | None = None) -> CommittedFile:
    name = name or part_name(number)
    path = staged_path(folder, number, "responses", name)
    path.write_bytes(content)
    return CommittedFile("responses", name, 1, *file_crc32(path))


def three_commits(folder: RunFolder) -> CommitLog:
    log = CommitLog(folder)
    for number in (1, 2, 3):
        totals = Totals(by_status=Counter(ok=number), requests=number)
        log.append(Commit(number, "seal", (stage(folder, number, b"%d" % number),), segments=(number,), totals=totals))
    return log


def test_what_is_read_is_what_was_appended(folder: RunFolder) -> None:
    written = three_commits(folder)
    read = read_commits(folder)
    assert read == written
    assert (read.next_number, read.sealed_segments, read.totals.requests) == (4, {1, 2, 3}, 6)
    assert read.totals.by_status == Counter(ok=6)
    assert [part.name for part in read.parts("responses")] == [part_name(number) for number in (1, 2, 3)]
    assert [folder.table("responses").joinpath(part_name(n)).read_bytes() for n in (1, 2, 3)] == [b"1", b"2", b"3"]
    assert list(folder.staging.iterdir()) == []


def test_an_empty_log_begins_with_one(folder: RunFolder) -> None:
    log = read_commits(folder)
    assert (log.last, log.next_number) == (None, 1)
    log.apply_last()


def test_a_rewritten_part_takes_the_old_ones_place_and_a_removed_one_goes(folder: RunFolder) -> None:
    log = three_commits(folder)
    removed = (("responses", part_name(1)),)
    log.append(Commit(4, "supersede", (stage(folder, 4, b"new", part_name(2)),), removed))
    assert log == read_commits(folder)
    assert sorted(path.name for path in folder.table("responses").iterdir()) == [part_name(2), part_name(3)]
    assert (folder.table("responses") / part_name(2)).read_bytes() == b"new"
    assert log.files["responses", part_name(2)].bytes == 3


@pytest.mark.parametrize("gone", [1, 2])
def test_a_missing_commit_is_named(folder: RunFolder, gone: int) -> None:
    three_commits(folder)
    folder.commit(gone).unlink()
    with pytest.raises(DamagedError, match=f"{gone:06d}.json: the commit is missing"):
        read_commits(folder)
    assert read_sound_commits(folder).sealed_segments == {1, 2, 3} - {gone}


def test_every_flipped_byte_of_a_commit_is_found(folder: RunFolder) -> None:
    written = three_commits(folder)
    path = folder.commit(2)
    sound = path.read_bytes()
    for offset in range(len(sound)):
        path.write_bytes(sound[:offset] + bytes([sound[offset] ^ 4]) + sound[offset + 1 :])
        try:
            assert read_commits(folder) == written  # white space and braces around the body hold nothing
        except DamagedError as error:
            assert "000002.json" in error.message  # noqa: PT017 - either outcome is right
    path.write_bytes(sound)
    assert read_commits(folder) == written


@pytest.mark.parametrize("keep", [0, 1, 20, -1, -3, -30])
def test_a_cut_commit_is_damaged(folder: RunFolder, keep: int) -> None:
    three_commits(folder)
    path = folder.commit(2)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedError, match=r"000002\.json: the commit is damaged"):
        read_commits(folder)
    assert read_sound_commits(folder).sealed_segments == {1, 3}


def test_a_commit_replaced_by_another_sound_one_breaks_the_chain(folder: RunFolder, tmp_path: Path) -> None:
    three_commits(folder)
    folder.commit(3).write_bytes(folder.commit(2).read_bytes())
    with pytest.raises(DamagedError, match=r"000003\.json"):
        read_commits(folder)
    other = RunFolder(tmp_path / "other")
    for path in (other.root, other.staging, other.commits, other.table("responses")):
        path.mkdir()
    log = CommitLog(other)
    log.append(Commit(1, "seal", (stage(other, 1, b"other"),)))
    folder.commit(1).write_bytes(other.commit(1).read_bytes())
    with pytest.raises(DamagedError, match=r"000002\.json"):
        read_commits(folder)


def test_a_file_that_is_no_commit_does_not_stop_the_run(folder: RunFolder) -> None:
    written = three_commits(folder)
    for name in ("000002 (copy).json", "3.json.bak", "notes.txt", "part-000001.index.npy"):
        (folder.commits / name).write_bytes(b"{}")
    assert read_commits(folder) == written


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_the_last_commit_is_applied_again_after_a_crash(folder: RunFolder, renamed: int) -> None:
    log = three_commits(folder)
    files = tuple(stage(folder, 4, b"four-%d" % n, part_name(10 + n)) for n in range(2))
    commit = Commit(4, "seal", files, removed=(("responses", part_name(1)),))
    staged = [staged_path(folder, 4, "responses", file.name) for file in files]
    contents = [path.read_bytes() for path in staged]
    log.append(commit)
    # As a crash leaves it: the commit is durable, some files wait in `_tmp/`, the removal did not happen.
    for path, content in list(zip(staged, contents, strict=True))[renamed:]:
        (folder.table("responses") / path.name.split(".", 2)[2]).unlink()
        path.write_bytes(content)
    (folder.table("responses") / part_name(1)).write_bytes(b"1")
    again = read_commits(folder)
    for _ in range(2):
        again.apply_last()
        names = sorted(path.name for path in folder.table("responses").iterdir())
        assert names == [part_name(number) for number in (2, 3, 10, 11)]
        assert (folder.table("responses") / part_name(11)).read_bytes() == b"four-1"
        assert list(folder.staging.iterdir()) == []


def test_a_staged_file_without_its_commit_is_in_no_table(folder: RunFolder) -> None:
    three_commits(folder)
    stage(folder, 4, b"never")
    log = read_commits(folder)
    log.apply_last()
    assert not (folder.table("responses") / part_name(4)).exists()
    assert log.next_number == 4


def test_a_commit_is_readable_json_with_its_checksum(folder: RunFolder) -> None:
    three_commits(folder)
    content = orjson.loads(folder.commit(2).read_bytes())
    assert content["body"]["commit"] == 2
    assert content["body"]["previous_crc32"] == orjson.loads(folder.commit(1).read_bytes())["crc32"]
    assert content["body"]["files"][0][:2] == ["responses", part_name(2)]
