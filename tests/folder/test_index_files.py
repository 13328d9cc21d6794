from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import DamagedError, StorageError
from runner.folder.index import (
    ENTRY,
    index_array,
    key_of,
    pack_entries,
    place_of,
    read_index,
    spread_choices,
    write_index,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Row digest, key, carry, repeat, resend.
Entry = tuple[bytes, bytes, int, int, bool]
ENTRIES = st.tuples(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**31 - 1),
    st.booleans(),
)


def packed(entries: Iterable[Entry]) -> bytes:
    digests, keys, carries, repeats, resend = zip(*entries, strict=True)
    return pack_entries(b"".join(digests).hex(), b"".join(keys).hex(), carries, repeats, resend)


def unpacked(record: np.void) -> Entry:
    digest = int(record["row_high"]).to_bytes(8, "big") + int(record["row_low"]).to_bytes(8, "big")
    return digest, key_of(record), int(record["carry"]), int(record["repeat"]), bool(record["resend"])


@given(st.lists(ENTRIES, min_size=1, max_size=30))
def test_entries_come_back_sorted_by_row_and_repeat(entries: list[Entry]) -> None:
    back = [unpacked(record) for record in index_array(packed(entries))]
    assert sorted(back) == sorted(entries)
    assert [(one[0], one[3]) for one in back] == sorted((one[0], one[3]) for one in entries)


def test_a_file_round_trip(tmp_path: Path) -> None:
    array = index_array(packed((bytes([n]) * 16, bytes([9 - n]) * 16, n, n, n == 3) for n in range(9)))
    path = tmp_path / "part-000001.index.npy"
    write_index(path, array)
    back = read_index(path)
    assert back.dtype == ENTRY
    assert np.array_equal(back, array)
    empty = tmp_path / "part-000002.index.npy"
    write_index(empty, index_array(b""))
    assert len(read_index(empty)) == 0


def test_an_entry_is_as_long_as_its_record() -> None:
    assert len(packed([(bytes(16), bytes(16), 0, 0, False)])) == ENTRY.itemsize == 49


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"garbage", b"PK\x03\x04"])
def test_what_is_no_index_is_damaged_and_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.index.npy"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"x\.index\.npy") as caught:
        read_index(path)
    assert "reseal" in caught.value.hint


def test_a_missing_a_cut_and_a_foreign_index_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.index.npy"
    with pytest.raises(DamagedError):
        read_index(path)
    write_index(path, index_array(packed([(bytes(16), bytes(16), 0, 0, False)])))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedError):
        read_index(path)
    np.save(path, np.arange(3))
    with pytest.raises(DamagedError, match="not an index"):
        read_index(path)
    with path.open("wb") as file:
        np.savez(file, other=np.arange(3))
    with pytest.raises(DamagedError):
        read_index(path)


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    entries = index_array(packed((bytes(16), bytes(16), n, n, False) for n in range(1000)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(StorageError, match="write to"):
            write_index(tmp_path / "x.index.npy", entries)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_choices_of_a_case_have_entries_of_their_own() -> None:
    entries = [(bytes([number]) * 16, bytes([number]) * 16, number, 0, False) for number in range(3)]
    spread = index_array(spread_choices(packed(entries), {1: (2, 1, 4), 2: (1, 0, 3)}))
    assert [(place_of(entry), int(entry["of"])) for entry in spread] == [
        ((bytes(16), 0), 0),
        ((b"\x01" * 16, 1), 4),
        ((b"\x01" * 16, 2), 4),
        ((b"\x02" * 16, 0), 3),
    ]
    assert [int(entry["carry"]) for entry in spread] == [0, 1, 1, 2]


def test_an_index_from_before_choices_had_entries_reads_as_whole_cases(tmp_path: Path) -> None:
    old = np.dtype(ENTRY.descr[:-2])
    array = index_array(packed([(bytes(16), b"\x07" * 16, 5, 1, True)]))
    path = tmp_path / "x.index.npy"
    np.save(path, array[list(old.names or ())].astype(old))
    (entry,) = read_index(path)
    assert (key_of(entry), entry["carry"], entry["repeat"], entry["resend"]) == (b"\x07" * 16, 5, 1, True)
    assert (entry["choice"], entry["of"]) == (0, 0)
