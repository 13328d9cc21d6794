from __future__ import annotations

import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from runner.errors import RunFolderError
from runner.folder.layout import RunFolder
from runner.folder.manifest import Manifest, Session, read_manifest, write_manifest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path)
    made.staging.mkdir()
    return made


def manifest() -> Manifest:
    return Manifest(
        run_id="20261122T014500Z-0a1b",
        name="test",
        created_at="2026-11-22T01:45:00+00:00",
        identity={"dataset.path": "x"},
        config={"name": "test"},
        config_digest="d",
        dataset={"samples": 3},
        columns={"z": "int64", "a": "string", "m": "double", "b": "bool"},
        sessions=[Session(1, "2026-11-22T01:45:00+00:00", 7, "host", {"python": "3.11"})],
    )


def test_a_manifest_round_trip_keeps_the_order_of_columns(folder: RunFolder) -> None:
    write_manifest(folder, manifest())
    back = read_manifest(folder)
    assert back == manifest()
    assert list(back.columns) == ["z", "a", "m", "b"]
    assert stat.S_IMODE(folder.manifest.stat().st_mode) == 0o600


def test_writing_again_replaces_it_and_leaves_nothing_behind(folder: RunFolder) -> None:
    write_manifest(folder, manifest())
    write_manifest(folder, replace(manifest(), status="complete"))
    assert read_manifest(folder).status == "complete"
    assert sorted(path.name for path in folder.root.iterdir()) == ["_tmp", "manifest.json"]
    assert list(folder.staging.iterdir()) == []


def test_a_folder_without_one_is_no_run(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        read_manifest(folder)


def test_a_later_format_asks_for_an_upgrade(folder: RunFolder) -> None:
    write_manifest(folder, manifest())
    content = orjson.loads(folder.manifest.read_bytes())
    folder.manifest.write_bytes(orjson.dumps(content | {"format": 99, "new_key": 1}))
    with pytest.raises(RunFolderError, match="later version") as caught:
        read_manifest(folder)
    assert caught.value.hint == "upgrade evalrunner"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"format":1}', b'{"format":"1"}', b"\xff"])
def test_a_damaged_manifest_is_named(folder: RunFolder, content: bytes) -> None:
    folder.manifest.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"manifest\.json"):
        read_manifest(folder)
