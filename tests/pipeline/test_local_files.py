"""What a dataset row may name and what it may not: the files of other folders stay where they are."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.pipeline.requests import localfiles
from runner.pipeline.requests.localfiles import MOST_FILE_BYTES, LocalFileError, content_digest, open_local

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURE = b"\x89PNG\r\n\x1a\n picture"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset's folder with files, links and worse in it, and a secret beside it."""
    folder = tmp_path.resolve() / "data"
    (folder / "pics" / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("token")
    (folder / ".env").write_text("KEY=secret")
    (folder / "pics" / "a.png").write_bytes(PICTURE)
    (folder / "pics" / "ünïcode 🙂.png").write_bytes(PICTURE)
    (folder / "empty.png").touch()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "database").mkdir()
    (tmp_path / "database" / "a.png").write_text("secret")
    (folder / "inside.png").symlink_to("pics/a.png")
    (folder / "pictures").symlink_to("pics")
    (folder / "outside.png").symlink_to(tmp_path / "secret.txt")
    (folder / "parent").symlink_to("..")
    (folder / "shadow.png").symlink_to(".env")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nothing.png")
    os.mkfifo(folder / "pipe.png")
    return folder


def read(folder: Path, name: str) -> bytes:
    with open_local(folder, name) as file:
        return file.read()


@pytest.mark.parametrize(
    "name",
    [
        "pics/a.png",
        "./pics//a.png",
        "pics/../pics/a.png",
        "pics/deep/../a.png",
        "inside.png",
        "pictures/a.png",
        "parent/data/pics/a.png",
        "pics/ünïcode 🙂.png",
    ],
)
def test_a_file_inside_is_read_however_it_is_named(folder: Path, name: str) -> None:
    assert read(folder, name) == PICTURE


def test_an_absolute_path_is_read_where_it_leads_inside(folder: Path) -> None:
    assert read(folder, str(folder / "pics" / "a.png")) == PICTURE


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret.txt", "lies outside the dataset's folder"),
        ("pics/../../secret.txt", "lies outside the dataset's folder"),
        ("../database/a.png", "lies outside the dataset's folder"),
        ("/etc/passwd", "lies outside the dataset's folder"),
        ("//etc/passwd", "lies outside the dataset's folder"),
        ("/proc/self/environ", "lies outside the dataset's folder"),
        ("/dev/zero", "lies outside the dataset's folder"),
        ("outside.png", "lies outside the dataset's folder"),
        ("parent/secret.txt", "lies outside the dataset's folder"),
        ("..", "lies outside the dataset's folder"),
        (".env", "is hidden"),
        ("shadow.png", "is hidden"),
        ("pics/../.env", "is hidden"),
        (".git/config", "is hidden"),
        ("pipe.png", "is no regular file"),
        ("pics", "is a folder"),
        (".", "is a folder"),
        ("", "is a folder"),
        ("nothing.png", "does not exist"),
        ("gone.png", "does not exist"),
        ("~/a.png", "does not exist"),
        ("file:pics/a.png", "does not exist"),
        ("pics\\a.png", "does not exist"),
        ("pics/a.png/b.png", "cannot be read"),
        ("loop.png", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        ("a\0b.png", "cannot be the name of a file"),
        ("\ud800.png", "cannot be the name of a file"),
    ],
)
def test_whatever_else_a_row_may_name_is_refused_with_the_reason(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(LocalFileError, match=reason):
        read(folder, name)


def test_a_socket_is_refused(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as own:
        here = os.open(folder, os.O_RDONLY)
        try:
            own.bind(f"/proc/self/fd/{here}/s.png")  # an address has room for a short path only
        finally:
            os.close(here)
        with pytest.raises(LocalFileError, match=r"cannot be read|is no regular file"):
            read(folder, "s.png")


def test_the_largest_file_is_read_and_one_byte_more_is_refused_unread(folder: Path) -> None:
    for name, size in (("most.bin", MOST_FILE_BYTES), ("more.bin", MOST_FILE_BYTES + 1), ("huge.bin", 1 << 40)):
        with (folder / name).open("wb") as file:
            file.truncate(size)
    assert len(read(folder, "most.bin")) == MOST_FILE_BYTES
    with pytest.raises(LocalFileError, match="has 20,971,521 bytes; 20 MiB are the most"):
        read(folder, "more.bin")
    with pytest.raises(LocalFileError, match="20 MiB are the most"):
        read(folder, "huge.bin")


@pytest.mark.parametrize("way", ["read", "digest"])
def test_a_file_that_grows_under_the_reader_is_refused(folder: Path, way: str) -> None:
    with open_local(folder, "pics/a.png") as file:
        with (folder / "pics" / "a.png").open("ab") as other:
            other.truncate(1 << 40)
        with pytest.raises(LocalFileError, match="20 MiB are the most"):
            getattr(file, way)()


def test_a_digest_is_that_of_the_content_whatever_its_length(folder: Path) -> None:
    for size in (0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 7):
        (folder / "some.bin").write_bytes(b"x" * size)
        with open_local(folder, "some.bin") as file:
            assert file.digest() == content_digest(b"x" * size)


def test_the_version_changes_with_every_write_and_not_by_itself(folder: Path) -> None:
    def version() -> tuple[int, ...]:
        with open_local(folder, "pics/a.png") as file:
            return file.version

    before = version()
    assert version() == before
    os.utime(folder / "pics" / "a.png", ns=(1, 1))
    assert version() != before


@pytest.mark.parametrize("swapped", ["pics", "pics/a.png"])
def test_a_link_put_there_after_the_check_is_not_followed(
    folder: Path, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = localfiles._parts_inside

    def check_then_swap(*arguments: Path | str) -> tuple[str, ...]:
        parts = real(*arguments)  # type: ignore[arg-type] # the arguments of open_local
        (folder / swapped).rename(folder / "moved")
        target = folder.parent / ("database" if swapped == "pics" else "secret.txt")
        (folder / swapped).symlink_to(target)
        return parts

    monkeypatch.setattr(localfiles, "_parts_inside", check_then_swap)
    with pytest.raises(LocalFileError, match="cannot be read"):
        read(folder, "pics/a.png")


@contextmanager
def _open_files() -> Iterator[None]:
    before = set(Path("/proc/self/fd").iterdir())
    yield
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_no_file_stays_open(folder: Path) -> None:
    with _open_files():
        read(folder, "pics/a.png")
        for name in ("pics", "pipe.png", "nothing.png", "pics/a.png/b", "../secret.txt"):
            with pytest.raises(LocalFileError):
                read(folder, name)
