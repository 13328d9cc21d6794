from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tracemalloc
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import DatasetError
from runner.readers import READERS, BadRow, ReadLimits, read_batches, scan_for, source_kinds
from runner.readers.streams import READ_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from runner.readers import RowBatch

    from .conftest import Pack, Write

FORMATS = [*READERS]
PACKINGS = ["", ".gz", ".zst"]
ROWS = [{"id": f"row {number}", "text": 'ä, "quoted"\nand\ttabbed 😀' * (number % 5)} for number in range(40)]


def rows_by_number(batches: list[RowBatch]) -> dict[int, Any]:
    return dict(chain.from_iterable(zip(batch.numbers, batch.rows, strict=True) for batch in batches))


@pytest.fixture(scope="session")
def every_format(tmp_path_factory: pytest.TempPathFactory, write: Write) -> dict[str, list[Path]]:
    """Two files of each format; the text ones with bad rows and blank lines in between."""
    folder = tmp_path_factory.mktemp("formats")
    files = {}
    for suffix in FORMATS:
        files[suffix] = [write(folder / f"{half}{suffix}", ROWS) for half in "ab"]
        if suffix in {".jsonl", ".ndjson"}:
            with files[suffix][0].open("ab") as file:
                file.write(b'\n{"id":\n  \t\r\n[1]\n\n{"id": "last", "text": ""}')
        if suffix in {".csv", ".tsv"}:
            with files[suffix][0].open("ab") as file:
                file.write(b'\n"x"y\nonly one\n \nlast' + (b"," if suffix == ".csv" else b"\t"))
    return files


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_come_back_as_they_were_written(tmp_path: Path, write: Write, suffix: str, packing: str) -> None:
    path = write(tmp_path / f"data{suffix}{packing}", ROWS)
    batches = list(read_batches([path], batch_rows=9))
    assert [row for batch in batches for row in batch.rows] == ROWS
    assert [number for batch in batches for number in batch.numbers] == list(range(40))
    assert all(len(batch.rows) <= 9 for batch in batches)
    assert {batch.file for batch in batches} == {str(path)}


def test_lines_are_places_in_the_file(tmp_path: Path, write: Write) -> None:
    rows = [{"a": "x\ny", "b": "1"}, {"a": "z", "b": "2"}]
    places = {
        suffix: [line for batch in read_batches([write(tmp_path / f"d{suffix}", rows)]) for line in batch.lines]
        for suffix in (".jsonl", ".csv", ".parquet", ".arrow")
    }
    assert places == {".jsonl": [1, 2], ".csv": [2, 4], ".parquet": [1, 2], ".arrow": [1, 2]}


def test_row_numbers_go_on_over_files_of_different_formats(tmp_path: Path, write: Write) -> None:
    paths = [write(tmp_path / f"d{suffix}", ROWS) for suffix in FORMATS]
    rows = rows_by_number(list(read_batches(paths)))
    assert [rows[number] for number in range(40 * len(FORMATS))] == ROWS * len(FORMATS)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_wanted_rows_are_those_a_full_read_gives(
    every_format: dict[str, list[Path]], suffix: str, data: st.DataObject
) -> None:
    paths = every_format[suffix]
    full = list(read_batches(paths))
    lines = dict(chain.from_iterable(zip(batch.numbers, batch.lines, strict=True) for batch in full))
    mask = data.draw(st.lists(st.booleans(), max_size=len(lines) + 5) | st.lists(st.just(value=False), max_size=90))
    wanted = np.array(mask, dtype=data.draw(st.sampled_from([np.bool_, np.uint8])))
    batches = list(
        read_batches(
            paths,
            wanted=wanted,
            batch_rows=data.draw(st.integers(1, 20)),
            batch_bytes=data.draw(st.sampled_from([1, 300, 4 << 20])),
        )
    )
    expected = {number: row for number, row in rows_by_number(full).items() if number < len(mask) and mask[number]}
    assert rows_by_number(batches) == expected
    assert all(lines[number] == line for b in batches for number, line in zip(b.numbers, b.lines, strict=True))
    assert all(batch.rows for batch in batches)


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_after_the_last_wanted_row_are_not_opened(tmp_path: Path, write: Write, suffix: str) -> None:
    paths = [write(tmp_path / f"data{suffix}", ROWS), tmp_path / f"missing{suffix}"]
    wanted = np.zeros(80, dtype=bool)
    wanted[3] = True
    assert rows_by_number(list(read_batches(paths, wanted=wanted))) == {3: ROWS[3]}
    wanted[40] = True
    with pytest.raises(DatasetError, match="missing"):
        list(read_batches(paths, wanted=wanted))


@pytest.mark.parametrize("suffix", FORMATS)
def test_batches_are_bounded_by_bytes(tmp_path: Path, write: Write, suffix: str) -> None:
    path = write(tmp_path / f"data{suffix}", [{"text": f"{number}" + "x" * 1000} for number in range(30)])
    assert max(len(batch.rows) for batch in read_batches([path], batch_bytes=4000)) <= 5


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_cut_gzip_gives_its_sound_rows_and_names_the_line_it_reached(tmp_path: Path, suffix: str) -> None:
    text = (b"" if suffix == ".jsonl" else b"key\n") + b'{"a":"b"}\n' * 1000
    path = tmp_path / f"data{suffix}.gz"
    path.write_bytes(gzip.compress(text, 0)[:-2000])
    batches: list[RowBatch] = []
    with pytest.raises(DatasetError, match=r"gz: its gzip data is cut off or damaged, after line \d+$") as caught:
        batches.extend(read_batches([path]))
    reached = int(caught.value.message.split()[-1])
    assert 400 <= batches[-1].lines[-1] <= reached < 1000


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_a_damaged_archive_is_a_dataset_error(tmp_path: Path, write: Write, suffix: str, packing: str) -> None:
    path = write(tmp_path / f"data{suffix}{packing}", ROWS)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DatasetError, match="is cut off or damaged") as caught:
        list(read_batches([path]))
    assert path.name in caught.value.message
    path.write_bytes(b"this is no archive at all")
    with pytest.raises(DatasetError, match="is cut off or damaged"):
        list(read_batches([path]))


def test_all_members_of_a_gzip_and_all_frames_of_a_zst_are_read(tmp_path: Path, zstd: Pack) -> None:
    halves = [b'{"a": 1}\n{"a"', b': 2}\n{"a": 3}\n', b"", b'{"a": 4}']
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    packed = {"d.jsonl.gz": gzip.compress, "d.jsonl.zst": lambda half: zstd(half) + skippable}
    for name, pack in packed.items():
        path = tmp_path / name
        path.write_bytes(b"".join(pack(half) for half in halves))
        assert list(rows_by_number(list(read_batches([path]))).values()) == [{"a": number} for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("name", ["bomb.jsonl.gz", "bomb.csv.gz", "bomb.parquet.gz"])
def test_an_archive_bomb_is_stopped(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress((b"x" * 1023 + b"\n") * 2048))
    with pytest.raises(DatasetError, match="unpacks to more than 100 times its size") as caught:
        list(read_batches([path], limits=ReadLimits(unchecked_bytes=1 << 20, expansion=100)))
    assert "unpack it" in caught.value.hint
    expected = DatasetError if "parquet" in name else list
    assert _outcome(path, ReadLimits(unchecked_bytes=4 << 20, expansion=100)) is expected


def _outcome(path: Path, limits: ReadLimits) -> type:
    try:
        return type(list(read_batches([path], limits=limits)))
    except DatasetError as error:
        assert "archive bomb" not in error.message  # noqa: PT017 - both outcomes are checked by the caller
        return DatasetError


def test_unpacking_into_a_temporary_file_is_capped_and_leaves_nothing(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    path = write(tmp_path / "data.parquet.zst", ROWS)
    with pytest.raises(DatasetError, match="unpacks to more than 0 MiB") as caught:
        list(read_batches([path], limits=ReadLimits(unpacked_bytes=100)))
    assert "TMPDIR" in caught.value.hint
    reading = read_batches([path], batch_rows=1)
    next(reading)
    assert len(list(temporary.iterdir())) == 1
    reading.close()  # type: ignore[attr-defined]  # the iterator is a generator; a consumer that stops closes it
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_cannot_be_opened_is_a_dataset_error(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    for path in (folder, tmp_path / f"missing{suffix}"):
        with pytest.raises(DatasetError, match="cannot be read"):
            list(read_batches([path]))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_dataset_error(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "data.jsonl", ROWS)
    path.chmod(0)
    with pytest.raises(DatasetError, match="Permission denied"):
        list(read_batches([path]))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_an_empty_file_has_no_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(b"")
    assert list(read_batches([path])) == []


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_line_above_the_cap_is_one_bad_row(tmp_path: Path, suffix: str) -> None:
    """Above the cap by one byte or by many pieces of the file, first, in the middle or last."""
    cap = 3 * READ_BYTES
    head = b"" if suffix == ".jsonl" else b"column\n"
    fits, above, far_above = (b'{"a":"' + b"x" * (size - 8) + b'"}' for size in (cap, cap + 1, 4 * cap))
    small = b'{"a":"b"}'
    path = tmp_path / f"data{suffix}"
    path.write_bytes(head + b"\n".join([far_above, small, above, fits, small, far_above]))
    (reasons, lines) = ([], [])
    for batch in read_batches([path], limits=ReadLimits(row_bytes=cap)):
        reasons += [row.reason if isinstance(row, BadRow) else "good" for row in batch.rows]
        lines += list(batch.lines)
    too_long = f"row is longer than {cap} bytes"
    assert reasons == [too_long, "good", too_long, "good", "good", too_long]
    assert lines == [place + head.count(b"\n") for place in (1, 2, 3, 4, 5, 6)]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_line_above_the_cap_is_never_held(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(b"column\n" + b"x" * (32 << 20) + b'\n{"a":"b"}\n')
    tracemalloc.start()
    try:
        batches = list(read_batches([path], limits=ReadLimits(row_bytes=1 << 20)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len([row for batch in batches for row in batch.rows]) == (3 if suffix == ".jsonl" else 2)
    assert peak < 4 << 20


def test_a_cap_below_the_size_of_one_read_holds(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 12345678}\n{"a": 2}\n{"a": 12345678}')
    batches = list(read_batches([path], limits=ReadLimits(row_bytes=10)))
    assert [type(row) for batch in batches for row in batch.rows] == [dict, BadRow, dict, BadRow]


def test_reading_imports_no_pandas(tmp_path: Path, write: Write) -> None:
    paths = [str(write(tmp_path / f"d{suffix}{packing}", ROWS)) for suffix in FORMATS for packing in PACKINGS]
    code = """if True:
        import sys
        from pathlib import Path
        from runner.readers import read_batches, scan_for, source_kinds
        paths = [Path(path) for path in sys.argv[1:]]
        scan = scan_for(paths)
        rows = 0
        for batch in read_batches(paths):
            scan.update(batch.rows)
            rows += len(batch.rows)
        scan.kinds({}, source_kinds(paths))
        print(rows, "pandas" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(40 * len(paths)), "False"]


def test_the_scan_is_of_cells_only_where_all_files_have_cells(tmp_path: Path) -> None:
    csv, tsv, jsonl = (tmp_path / name for name in ("a.csv", "b.tsv.gz", "c.jsonl"))
    rows = [{"n": "1"}]
    kinds = []
    for paths in ([csv, tsv], [csv, jsonl], [jsonl]):
        scan = scan_for(paths)
        scan.update(rows)
        kinds.append(scan.kinds({})["n"].value)
    assert kinds == ["int64", "string", "string"]
    assert source_kinds([jsonl]) is None
