from __future__ import annotations

import io
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from runner.errors import CannotCreateError, DatasetError, StorageError
from runner.readers import spool_stdin

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b'{"a": 1}\n', "stdin.jsonl"),
        (b'\xef\xbb\xbf\r\n \t{"a": 1}', "stdin.jsonl"),
        (b"\n" * (3 << 20) + b'{"a": 1}', "stdin.jsonl"),
        (b"a,b\n1,{2}\n", "stdin.csv"),
        (b'"{a}",b\n', "stdin.csv"),
        (b"", "stdin.jsonl"),
    ],
)
def test_the_first_byte_that_is_not_blank_decides_the_name(tmp_path: Path, content: bytes, name: str) -> None:
    path = spool_stdin(io.BytesIO(content), tmp_path)
    assert path == tmp_path / name
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


class Endless(io.RawIOBase):
    """Gives 64 MiB in pieces of whatever size is asked for."""

    def __init__(self) -> None:
        self.left = 64 << 20

    def read(self, size: int = -1) -> bytes:
        taken = min(size, self.left) if size >= 0 else self.left
        self.left -= taken
        return b"{" * taken


def test_memory_is_bounded(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        path = spool_stdin(Endless(), tmp_path)  # type: ignore[arg-type]  # only read() is called
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.stat().st_size == 64 << 20
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("start", "name"),
    [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PAR1", "Parquet"), (b"ARROW1\0\0", "Arrow")],
)
def test_binary_input_is_refused_by_name(tmp_path: Path, start: bytes, name: str) -> None:
    with pytest.raises(DatasetError, match=f"standard input is {name}"):
        spool_stdin(io.BytesIO(start + b"rest"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_and_a_write_that_fails(tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match="cannot be created"):
        spool_stdin(io.BytesIO(b"{}"), tmp_path / "missing")
    (tmp_path / "stdin.jsonl").mkdir()
    with pytest.raises(StorageError, match="cannot be kept"):
        spool_stdin(io.BytesIO(b"{}"), tmp_path)
