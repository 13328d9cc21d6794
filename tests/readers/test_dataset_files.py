from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import DatasetError
from runner.readers import READERS, resolve_paths
from runner.readers.files import SUFFIXES, dataset_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.jsonl", "a.jsonl", "c.csv.gz", "notes.txt", "odd[1].jsonl", "data.json"):
        (tmp_path / name).touch()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "d.parquet").touch()
    (tmp_path / "sub.jsonl").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_every_reader_has_its_suffix() -> None:
    assert set(SUFFIXES) == set(READERS)


def test_files_keep_their_order_and_globs_are_sorted(folder: Path) -> None:
    assert resolve_paths("a.jsonl") == [Path("a.jsonl")]
    assert names(resolve_paths(["c.csv.gz", f"{folder}/[ab].jsonl", "a.jsonl"])) == [
        "c.csv.gz",
        "a.jsonl",
        "b.jsonl",
        "a.jsonl",
    ]
    assert names(resolve_paths(["a.jsonl", "?.jsonl"])) == ["a.jsonl", "b.jsonl"]
    assert names(resolve_paths("**/*.parquet")) == ["d.parquet"]
    assert names(resolve_paths(str(folder / "*.csv*"))) == ["c.csv.gz"]


def test_folders_a_glob_matches_are_left_out(folder: Path) -> None:
    assert (folder / "sub.jsonl").is_dir()
    assert names(resolve_paths("*.jsonl")) == ["a.jsonl", "b.jsonl", "odd[1].jsonl"]


def test_a_name_with_glob_characters_that_exists_is_that_file(folder: Path) -> None:
    assert names(resolve_paths(str(folder / "odd[1].jsonl"))) == ["odd[1].jsonl"]


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("aa.jsonl", "the dataset file aa.jsonl does not exist", "did you mean a.jsonl?"),
        ("zzzzzzzz.csv", "does not exist", "there are: a.jsonl, b.jsonl, c.csv.gz, odd[1].jsonl"),
        ("nowhere/a.jsonl", "does not exist", "there is no folder nowhere"),
        ("deep/x.jsonl", "does not exist", "the folder deep holds no dataset file; supported: .jsonl"),
        ("*.tsv", "no file matches *.tsv", "a.jsonl"),
        ("sub*", "no file matches sub*", "a.jsonl"),
        ("*/x.jsonl", "no file matches", "check the folders"),
        ("deep", "deep is a folder, not a file", "deep/*.jsonl"),
        ("notes.txt", "notes.txt: the suffix .txt is not a dataset format", "supported: .jsonl"),
        ("data.json", "the suffix .json is not a dataset format", "one JSON object per line"),
        ([], "names no file", "a glob or a list"),
    ],
)
def test_what_is_no_dataset_is_explained(folder: Path, path: str | list[str], message: str, hint: str) -> None:
    assert folder.is_dir()
    with pytest.raises(DatasetError) as caught:
        resolve_paths(path)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "suffix", "codec"),
    [
        ("a.jsonl", ".jsonl", None),
        ("a.b.CSV.GZ", ".csv", "gzip"),
        ("a.parquet.zst", ".parquet", "zstd"),
        ("a.feather", ".feather", None),
    ],
)
def test_suffixes(name: str, suffix: str, codec: str | None) -> None:
    file = dataset_file(Path(name))
    assert (file.suffix, file.codec) == (suffix, codec)


@pytest.mark.parametrize("name", ["a", "a.gz", "jsonl", ".jsonl", "a.jsonl.bz2", "a.jsonl.gz.zst"])
def test_other_suffixes_are_refused(name: str) -> None:
    with pytest.raises(DatasetError, match="is not a dataset format"):
        dataset_file(Path(name))


def test_a_file_is_shown_relative_to_the_working_folder(folder: Path) -> None:
    assert dataset_file(folder / "deep" / "x.csv").name == "deep/x.csv"
    assert dataset_file(folder.parent / "x.csv").name == str(folder.parent / "x.csv")
