from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict
from runner.errors import RunFolderError
from runner.folder.layout import SUPERSEDED, TABLES, RunFolder
from runner.folder.lock import hold_lock
from runner.folder.manifest import Manifest, write_manifest
from runner.pipeline.locate import Where, identity_of, list_runs, locate, status_of

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config import RunConfig

NOW = datetime(2026, 11, 22, 1, 45, tzinfo=UTC)


def config_in(folder: Path, **sections: Any) -> RunConfig:
    values: dict[str, Any] = {
        "name": "test",
        "dataset": {"path": "data.jsonl"},
        "model": {"base_url": "http://127.0.0.1:9/v1", "name": "m"},
        "request": {"messages": [{"role": "user", "content": "{{ q }}"}]},
        "output": {"dir": "outputs"},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return config_from_dict(values, folder)


def make_run(root: Path, config: RunConfig, **changes: Any) -> RunFolder:
    folder = RunFolder(root)
    folder.staging.mkdir(parents=True)
    fields: dict[str, Any] = {
        "run_id": root.name,
        "name": config.name,
        "created_at": (NOW - timedelta(hours=1)).isoformat(),
        "identity": identity_of(config),
        "config": {},
        "config_digest": "d",
        "dataset": {},
        "columns": {},
        "status": "stopped",
    }
    write_manifest(folder, Manifest(**(fields | changes)))
    return folder


def ago(**time: float) -> str:
    return (NOW - timedelta(**time)).isoformat()


def test_a_new_run_is_named_by_time_and_chance(tmp_path: Path) -> None:
    located = locate(config_in(tmp_path), Where(), NOW)
    assert located.manifest is None
    assert located.folder.root == tmp_path / "outputs" / "test" / located.run_id
    assert located.run_id.startswith("20261122T014500Z-")
    assert len(located.run_id) == 21
    assert locate(config_in(tmp_path), Where(), NOW).run_id != located.run_id
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("status", ["stopped", "incomplete", "interrupted", "running"])
def test_an_unfinished_run_of_the_last_day_is_continued_and_said_so(tmp_path: Path, status: str) -> None:
    config = config_in(tmp_path)
    run = make_run(tmp_path / "outputs" / "test" / "r1", config, status=status, created_at=ago(hours=24))
    located = locate(config, Where(), NOW)
    assert located.folder == run
    assert "--new" in (located.continued or "")
    assert locate(config, Where(new=True), NOW).folder != run


@pytest.mark.parametrize(
    "changes", [{"status": "complete"}, {"created_at": ago(hours=24, seconds=1)}, {"identity": {"dataset.path": "x"}}]
)
def test_a_complete_an_old_and_a_foreign_run_are_left_alone(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = config_in(tmp_path)
    make_run(tmp_path / "outputs" / "test" / "r1", config, **changes)
    assert locate(config, Where(), NOW).manifest is None


def test_the_newest_unfinished_run_is_taken(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    runs = tmp_path / "outputs" / "test"
    make_run(runs / "z", config, created_at=ago(hours=9))
    newest = make_run(runs / "a", config, created_at=ago(hours=2))
    make_run(runs / "m", config, created_at=ago(hours=1), status="complete")
    (runs / "n").mkdir()
    (runs / "o").mkdir()
    (runs / "o" / "manifest.json").write_text("{damaged")
    assert locate(config, Where(), NOW).folder == newest


@pytest.mark.parametrize("created_at", ["not a time", "2026-11-22T01:00:00"])
def test_a_manifest_with_an_odd_time_does_not_stop_a_new_run(tmp_path: Path, created_at: str) -> None:
    config = config_in(tmp_path)
    make_run(tmp_path / "outputs" / "test" / "r1", config, created_at=created_at)
    assert locate(config, Where(), NOW) is not None


@pytest.mark.parametrize(
    ("sections", "same"),
    [
        ({"request": {"timeout_s": {"total": 3}}}, True),
        ({"limits": {"max_in_flight": 3}}, True),
        ({"retry": {"max_attempts": 3}}, True),
        ({"gates": {"max_failed_fraction": 0.5}}, True),
        ({"model": {"price": {"input_per_million": 1, "output_per_million": 2}}}, True),
        ({"dataset": {"keep": ["q"]}}, True),
        ({"dataset": {"path": "other.jsonl"}}, False),
        ({"dataset": {"id": "id"}}, False),
        ({"dataset": {"limit": 3}}, False),
        ({"dataset": {"shuffle_seed": 3}}, False),
        ({"model": {"name": "other"}}, False),
        ({"model": {"base_url": "http://127.0.0.1:10/v1"}}, False),
        ({"request": {"params": {"temperature": 1}}}, False),
        ({"request": {"repeats": 2}}, False),
    ],
)
def test_identity_is_dataset_model_and_request(tmp_path: Path, sections: dict[str, Any], same: bool) -> None:  # noqa: FBT001 - a column of the table
    assert (identity_of(config_in(tmp_path, **sections)) == identity_of(config_in(tmp_path))) is same


def test_a_folder_of_another_run_is_refused_with_every_difference(tmp_path: Path) -> None:
    make_run(tmp_path / "mine", config_in(tmp_path))
    other = config_in(tmp_path, model={"name": "other"}, dataset={"limit": 3})
    with pytest.raises(RunFolderError) as caught:
        locate(other, Where(run_dir=tmp_path / "mine"), NOW)
    assert "model.name: the run has 'm', the config says 'other'" in caught.value.message
    assert "dataset.limit: the run has None, the config says 3" in caught.value.message
    assert caught.value.message.count("the config says") == 2


def test_a_run_id_names_a_folder_below_the_outputs(tmp_path: Path) -> None:
    located = locate(config_in(tmp_path), Where(run_id="nightly-1"), NOW)
    assert located.folder.root == tmp_path / "outputs" / "test" / "nightly-1"
    assert located.run_id == "nightly-1"


def test_an_empty_folder_and_a_run_killed_before_its_manifest_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert locate(config_in(tmp_path), Where(run_dir=tmp_path / "empty"), NOW).manifest is None
    folder = RunFolder(tmp_path / "killed")
    for path in (folder.root, folder.staging, folder.journal, folder.commits, folder.scan, folder.spool):
        path.mkdir()
    for table in (*TABLES, SUPERSEDED):
        folder.table(table).mkdir()
    folder.lock.touch()
    folder.log.touch()
    assert locate(config_in(tmp_path), Where(run_dir=folder.root), NOW).manifest is None


def test_a_folder_with_something_else_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    (tmp_path / "file").touch()
    for name in ("thesis", "file"):
        with pytest.raises(RunFolderError, match="not a run folder"):
            locate(config_in(tmp_path), Where(run_dir=tmp_path / name), NOW)


def test_a_running_run_with_a_free_lock_is_interrupted(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    folder = make_run(tmp_path / "outputs" / "test" / "r1", config, status="running")
    located = locate(config, Where(run_id="r1"), NOW)
    assert status_of(located) == "interrupted"
    with hold_lock(folder):
        assert status_of(located) == "running"


def test_runs_are_listed_newest_first_from_the_outputs_and_from_a_name(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    outputs = tmp_path / "outputs"
    make_run(outputs / "test" / "old", config, created_at=ago(days=3))
    make_run(outputs / "other" / "new", config, created_at=ago(days=1))
    make_run(outputs / "test" / "mid", config, created_at=ago(days=2))
    assert [run.run_id for run in list_runs(outputs)] == ["new", "mid", "old"]
    assert [run.run_id for run in list_runs(outputs / "test")] == ["mid", "old"]
    assert list_runs(tmp_path / "nowhere") == []
