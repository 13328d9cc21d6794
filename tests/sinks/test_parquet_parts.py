from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import DamagedError, StorageError
from runner.sinks import PartWriter, file_crc32, partition, read_row_groups, replace_values, verify_part

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False), ("text", pa.string()), ("n", pa.int64())])
ROWS = [(f"k{number}", f"text {number} " * 20, number) for number in range(200)]


def columns_of(rows: Sequence[tuple[Any, ...]]) -> dict[str, Sequence[Any]]:
    return dict(zip(SCHEMA.names, zip(*rows, strict=True), strict=True))


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("runner.sinks.parts._ROW_GROUP_BYTES", 100)
    path = tmp_path / "part-000001.parquet"
    with PartWriter(path, SCHEMA) as writer:
        writer.write_columns(columns_of(ROWS[:100]))
        writer.write_columns(columns_of(ROWS[100:]))
    assert writer.rows == 200
    return path


def test_rows_come_back_group_by_group(part: Path) -> None:
    groups = list(read_row_groups(part))
    assert [group.num_rows for group in groups] == [100, 100]
    assert [tuple(row.values()) for group in groups for row in group.to_pylist()] == ROWS
    assert verify_part(part) == 200
    assert [group.schema.names for group in read_row_groups(part, ["n"])] == [["n"], ["n"]]


def test_rows_wait_for_a_row_group_that_is_worth_it(tmp_path: Path) -> None:
    path = tmp_path / "part-000001.parquet"
    with PartWriter(path, SCHEMA) as writer:
        for start in range(0, 200, 20):
            writer.write_columns(columns_of(ROWS[start : start + 20]))
    assert pq.read_metadata(path).num_row_groups == 1
    assert [tuple(row.values()) for row in pq.read_table(path).to_pylist()] == ROWS


def test_a_part_is_private_and_has_page_checksums(part: Path) -> None:
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    assert pq.read_metadata(part).row_group(0).column(1).compression == "ZSTD"
    assert pq.read_schema(part).equals(SCHEMA)


def test_a_part_without_rows_has_all_columns(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    with PartWriter(path, SCHEMA) as writer:
        writer.write_columns({})
    assert (verify_part(path), pq.read_schema(path).names) == (0, SCHEMA.names)
    with PartWriter(tmp_path / "none.parquet", SCHEMA):
        pass
    assert verify_part(tmp_path / "none.parquet") == 0


def test_a_flipped_byte_in_a_page_is_found(part: Path) -> None:
    column = pq.read_metadata(part).row_group(1).column(1)
    sound = part.read_bytes()
    end = column.data_page_offset + column.total_compressed_size
    for offset in range(end - 40, end):
        part.write_bytes(sound[:offset] + bytes([sound[offset] ^ 1]) + sound[offset + 1 :])
        with pytest.raises(DamagedError, match="part-000001"):
            verify_part(part)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_anywhere_changes_the_checksum_and_raises_nothing_but_damage(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.parquet"
    with PartWriter(path, SCHEMA) as writer:
        writer.write_columns(columns_of(ROWS[:20]))
    sound = path.read_bytes()
    size, crc32 = file_crc32(path)
    offset, bit = data.draw(st.integers(0, len(sound) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(sound[:offset] + bytes([sound[offset] ^ 1 << bit]) + sound[offset + 1 :])
    assert file_crc32(path)[0] == size
    assert file_crc32(path)[1] != crc32
    with contextlib.suppress(DamagedError):
        verify_part(path)


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -8])
def test_a_cut_part_is_damaged(part: Path, keep: int) -> None:
    part.write_bytes(part.read_bytes()[:keep])
    with pytest.raises(DamagedError, match="part-000001") as caught:
        verify_part(part)
    assert "salvage" in caught.value.hint


def test_a_missing_part_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="gone"):
        verify_part(tmp_path / "gone.parquet")
    with pytest.raises(StorageError, match="gone"):
        file_crc32(tmp_path / "gone.parquet")


def test_a_part_that_cannot_be_opened_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no/part"):
        PartWriter(tmp_path / "no" / "part.parquet", SCHEMA)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_a_storage_error() -> None:
    rows = [(str(number), os.urandom(600).hex(), number) for number in range(10_000)]
    writer = PartWriter(Path("/dev/full"), SCHEMA)
    with pytest.raises(StorageError, match="No space left"):
        writer.write_columns(columns_of(rows))
    with contextlib.suppress(StorageError):
        writer.close()


def test_rows_are_parted_by_key(part: Path) -> None:
    first = next(iter(read_row_groups(part)))
    stays, goes = partition(first, {"k1", "k99", "k150"})
    assert goes.column("key").to_pylist() == ["k1", "k99"]
    assert stays.num_rows == 98
    assert stays.schema.types == goes.schema.types == SCHEMA.types
    assert partition(first, set())[1].num_rows == 0


def test_values_of_some_rows_are_replaced(part: Path) -> None:
    first = next(iter(read_row_groups(part)))
    changed = replace_values(first, [3, 1], {"text": ["three", None], "n": [-3, -1]})
    rows = [tuple(row.values()) for row in changed.to_pylist()]
    assert (rows[3], rows[1]) == (("k3", "three", -3), ("k1", None, -1))
    assert rows[4:] == ROWS[4:100]
    assert changed.schema.types == SCHEMA.types
