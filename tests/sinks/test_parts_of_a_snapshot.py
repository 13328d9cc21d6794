"""Parts read through a snapshot: the rows of its instant, whatever takes their names."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.errors import BusyError, DamagedError
from runner.folder.layout import RunFolder
from runner.sinks import take_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from runner.sinks import PartFile

IDS = [f"q{number}" for number in range(9)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run folder with one part of nine rows in three row groups."""
    folder = RunFolder(tmp_path / "run")
    folder.table("responses").mkdir(parents=True)
    rows = pa.table({"sample_id": IDS, "status": ["ok"] * 9})
    path = folder.table("responses") / "part-000001.parquet"
    pq.write_table(rows, path, row_group_size=4, write_page_checksum=True)
    return folder


def ids(part: PartFile) -> list[str]:
    return [one for batch in part.batches(["sample_id"]) for one in batch.column("sample_id").to_pylist()]


def replace(part: PartFile, tmp_path: Path, size: int = 50) -> None:
    """Let another file take the part's name, as a commit does."""
    shutil.copy(part.path, tmp_path / "other")
    (tmp_path / "other").write_bytes((tmp_path / "other").read_bytes()[:size])
    (tmp_path / "other").replace(part.path)


def test_rows_come_in_batches_and_by_their_places(folder: RunFolder) -> None:
    with take_snapshot(folder, ["responses"]) as snapshot:
        (part,) = snapshot.tables["responses"].values()
        assert part.rows == 9
        assert ids(part) == IDS
        assert list(part.rows_at([7, 2], ["sample_id", "status"])) == [("q2", "ok"), ("q7", "ok")]
        assert list(part.rows_at([], ["sample_id"])) == []


def test_a_part_that_is_held_stays_what_it_was(folder: RunFolder, tmp_path: Path) -> None:
    with take_snapshot(folder, ["responses"]) as snapshot:
        (part,) = snapshot.tables["responses"].values()
        replace(part, tmp_path)
        assert (part.rows, ids(part)) == (9, IDS)
        assert list(part.rows_at([8], ["sample_id"])) == [("q8",)]


def test_a_part_that_is_not_held_says_that_it_was_replaced(folder: RunFolder, tmp_path: Path) -> None:
    with take_snapshot(folder, ["responses"], most_open=0) as snapshot:
        (part,) = snapshot.tables["responses"].values()
        assert ids(part) == IDS
        replace(part, tmp_path)
        with pytest.raises(BusyError):
            ids(part)


def test_a_damaged_page_is_named(folder: RunFolder) -> None:
    path = next(folder.table("responses").glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[20:40] = bytes(20)
    path.write_bytes(content)
    with take_snapshot(folder, ["responses"]) as snapshot:
        (part,) = snapshot.tables["responses"].values()
        with pytest.raises(DamagedError, match=path.name):
            list(part.batches(["sample_id", "status"]))
        with pytest.raises(DamagedError, match=path.name):
            list(part.rows_at([0], ["sample_id", "status"]))
