"""Which run is compared with: the newest that was good, earlier, and asked the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.comparison import last_good
from runner.folder.layout import RunFolder
from runner.folder.manifest import Manifest, write_manifest

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {
    "dataset.path": "/data.jsonl",
    "dataset.limit": None,
    "model.name": "m",
    "model.base_url": "http://a/v1",
    "request.messages": [{"role": "user", "content": "{{ q }}"}],
}


def made(runs: Path, day: int, **facts: Any) -> Manifest:
    """Write the manifest of a run that began on a day of the month, good unless `facts` say otherwise."""
    folder = RunFolder(runs / f"night{day:02}")
    folder.staging.mkdir(parents=True)
    exit_code, changed = facts.pop("exit_code", 0), facts.pop("identity", {})
    values: dict[str, Any] = {
        "run_id": f"night{day:02}",
        "name": "demo",
        "created_at": f"2026-11-{day:02}T02:00:00.000+00:00",
        "identity": {**IDENTITY, **changed},
        "config": {},
        "config_digest": "",
        "dataset": {},
        "columns": {},
        "status": "complete",
        "scoring": "0001-a",
        "summary": {"exit_code": exit_code},
    }
    manifest = Manifest(**{**values, **facts})
    write_manifest(folder, manifest)
    return manifest


@pytest.mark.parametrize(
    "facts",
    [
        {"exit_code": 3},
        {"exit_code": 4},
        {"status": "stopped", "exit_code": 5},
        {"status": "running", "summary": {}},
        {"status": "incomplete"},
        {"name": "other"},
        {"identity": {"dataset.path": "/other.jsonl"}},
        {"identity": {"dataset.limit": 20}},
        {"identity": {"request.messages": []}},
        {"scoring": ""},
    ],
)
def test_what_was_not_good_or_asked_something_else_is_passed_over(facts: dict[str, Any], tmp_path: Path) -> None:
    made(tmp_path, 1)
    made(tmp_path, 2, **facts)
    assert last_good(tmp_path, made(tmp_path, 3)) == tmp_path / "night01"


@pytest.mark.parametrize(
    "facts",
    [{"identity": {"model.name": "new"}}, {"identity": {"model.base_url": "http://b/v1"}}, {"scoring": "0007-b"}],
)
def test_models_servers_and_scorers_may_differ(facts: dict[str, Any], tmp_path: Path) -> None:
    made(tmp_path, 1)
    made(tmp_path, 2, **facts)
    assert last_good(tmp_path, made(tmp_path, 3)) == tmp_path / "night02"


def test_later_runs_are_none_to_compare_with(tmp_path: Path) -> None:
    first, second = made(tmp_path, 1), made(tmp_path, 2)
    made(tmp_path, 3)
    assert last_good(tmp_path, second) == tmp_path / "night01"
    assert last_good(tmp_path, first) is None


def test_without_scores_runs_without_scores_will_do(tmp_path: Path) -> None:
    made(tmp_path, 1)
    made(tmp_path, 2, scoring="")
    assert last_good(tmp_path, made(tmp_path, 3, scoring="")) == tmp_path / "night02"


def test_what_is_no_run_is_passed_over(tmp_path: Path) -> None:
    made(tmp_path, 1)
    (tmp_path / "night02").mkdir()
    (tmp_path / "night02" / "manifest.json").write_bytes(b"{")
    (tmp_path / "notes").mkdir()
    assert last_good(tmp_path, made(tmp_path, 3)) == tmp_path / "night01"
