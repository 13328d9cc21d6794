from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.commands import evalrunner, one_message
from tests.support.receiver import receiving
from tests.support.runs import config_for, questions, write_config, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator


def test_a_night_prints_what_became_of_it(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "questions.jsonl", questions(5))
    config = write_config(tmp_path / "arith.yaml", config_for(simulator, dataset, name="arith"))
    first = evalrunner("nightly", config, cwd=tmp_path)
    assert (first.code, first.err.splitlines()) == (0, ["arith: running", "arith: good"])
    assert "verdict  good (exit 0)" in first.out
    again = evalrunner("nightly", config, "--json", cwd=tmp_path)
    (one,) = again.json["configs"]
    assert (again.code, again.err, one["exit_code"], one["samples"], one["calls"]) == (0, "", 0, 5, 1)
    assert all((tmp_path / again.json[what]).is_file() for what in ("record", "page", "junit"))


def test_a_suite_whose_folder_cannot_be_created_is_told(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    sections = {"name": "arith", "output": {"dir": str(tmp_path / "taken")}, "notify": [{"webhook_env": "HOOK"}]}
    config = write_config(tmp_path / "arith.yaml", config_for(simulator, tmp_path / "q.jsonl", **sections))
    with receiving() as receiver:
        finished = evalrunner("nightly", config, cwd=tmp_path, env={"HOOK": receiver.url})
    assert finished.code == 73
    assert f"cannot create {tmp_path}/taken: File exists" in one_message(finished)
    (message,) = receiver.bodies
    assert (message["event"], message["configs"][0]["exit_code"]) == ("failure", 73)
    assert f"cannot create {tmp_path}/taken" in message["configs"][0]["message"]
    again = evalrunner("nightly", config, "--json", cwd=tmp_path)
    assert (again.code, again.json["error"]["code"]) == (73, "cannot_create")


def test_a_date_without_a_night_is_told(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "questions.jsonl", questions(5))
    config = write_config(tmp_path / "arith.yaml", config_for(simulator, dataset, name="arith"))
    finished = evalrunner("nightly", config, "--date", "2026-11-01", cwd=tmp_path)
    assert finished.code == 2
    assert "--date 2026-11-01: arith has no night of that date" in one_message(finished)
