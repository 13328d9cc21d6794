from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from runner.simulate import FaultRules
from tests.support.commands import one_message
from tests.support.runs import config_for, questions, sent_by, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.commands import Finished


@pytest.fixture
def matrix(simulator: Simulator, tmp_path: Path) -> dict[str, Any]:
    for number, name in enumerate(("easy", "hard")):
        write_rows(tmp_path / f"{name}.jsonl", questions(5, first=10 * number))
    config = config_for(simulator, tmp_path / "easy.jsonl", limits={"max_in_flight": 1})
    del config["dataset"]["path"]
    del config["model"]["name"]
    return config | {"matrix": {"models": [{"name": "a"}, {"name": "b"}], "datasets": ["easy.jsonl", "hard.jsonl"]}}


@pytest.fixture
def path(matrix: dict[str, Any], tmp_path: Path) -> Path:
    return write_config(tmp_path / "run.yaml", matrix)


NAMES = ["test-a-easy", "test-a-hard", "test-b-easy", "test-b-hard"]


def test_a_matrix_runs_in_turn_each_config_in_a_folder_of_its_own(
    simulator: Simulator, path: Path, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    ended = here("run", path, "--run-id", "first", "--json")
    assert (ended.code, ended.json["exit_code"]) == (0, 0)
    assert [(run["name"], run["ok"]) for run in ended.json["runs"]] == [(name, 5) for name in NAMES]
    assert [run["run_dir"] for run in ended.json["runs"]] == [
        str(tmp_path / "outputs" / name / "first") for name in NAMES
    ]
    assert sent_by(simulator) == 20
    again = here("run", path, "--run-id", "first")
    assert again.code == 0
    assert [again.out.count(f"\n{name} ") for name in NAMES] == [1] * 4
    assert sent_by(simulator) == 20


def test_one_config_that_fails_keeps_none_of_the_others_from_running(
    simulator: Simulator, path: Path, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    (tmp_path / "hard.jsonl").unlink()
    ended = here("run", path, "--json")
    first, second, third, fourth = ended.json["runs"]
    assert (ended.code, first["exit_code"], second["exit_code"], third["exit_code"]) == (2, 0, 2, 0)
    assert (second["error"]["code"], fourth["error"]["code"]) == ("dataset", "dataset")
    assert "hard.jsonl" in second["error"]["message"]
    assert sent_by(simulator) == 10


def test_the_gravest_exit_code_is_that_of_the_command(
    simulator: Simulator, path: Path, here: Callable[..., Finished]
) -> None:
    simulator.change(replace(QUICK, faults=FaultRules(script={2: "400", 7: "401"})))
    ended = here("run", path, "--json")
    assert [run["exit_code"] for run in ended.json["runs"]] == [3, 5, 0, 0]
    assert ended.code == 5


def test_a_dry_run_shows_all_of_them_and_sends_nothing(
    simulator: Simulator, path: Path, here: Callable[..., Finished]
) -> None:
    shown = here("run", path, "--dry-run", "--json")
    assert [(run["name"], run["requests"]) for run in shown.json["runs"]] == [(name, 5) for name in NAMES]
    text = here("run", path, "--dry-run").out
    assert [name in text for name in NAMES] == [True] * 4
    assert text.count("Nothing was sent.") == 4
    assert sent_by(simulator) == 0


def test_each_model_is_checked_once(path: Path, here: Callable[..., Finished]) -> None:
    found = here("check", path, "--json")
    assert [(one["name"], one["model"]) for one in found.json["configs"]] == [
        ("test-a-easy", "a"),
        ("test-b-easy", "b"),
    ]
    assert found.code == 0
    assert here("check", path).out.count("(1") == 2


def test_a_run_dir_is_refused_and_other_commands_say_what_they_take(
    simulator: Simulator, path: Path, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    refused = here("run", path, "--run-dir", tmp_path / "one")
    assert refused.code == 2
    assert "a matrix has several runs" in one_message(refused)
    other = here("documents", "list", path)
    assert other.code == 2
    assert "run.yaml:" in one_message(other)
    assert "a matrix stands for several runs" in other.err
    assert sent_by(simulator) == 0


def test_the_problems_of_all_configs_come_at_once(
    matrix: dict[str, Any], path: Path, here: Callable[..., Finished]
) -> None:
    matrix["matrix"]["models"] = [{"name": 3}, {"name": "b", "base_url": "ftp://x"}]
    write_config(path, matrix)
    error = json.loads(here("run", path, "--json").out)["error"]
    assert error["code"] == "config"
    assert error["message"].count("model.name") == error["message"].count("model.base_url") == 1
