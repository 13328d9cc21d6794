"""`run` and `resume` as their users meet them: what goes to stdout, which folder it goes to, and what a pipe gets."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import runner
from runner.simulate import AnswerStyle, FaultRules
from tests.support.commands import ROOT, evalrunner, one_message
from tests.support.runs import by_sample, config_for, questions, sent_by, table, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.commands import Finished

SAMPLES = 12
SUMMARY = {
    "run_id",
    "run_dir",
    "status",
    "samples",
    "requests",
    "ok",
    "failed",
    "superseded",
    "by_status",
    "http_requests",
    "retries",
    "rate_limited",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cost_usd",
    "wall_s",
    "requests_per_s",
    "latency_s",
    "warnings",
    "scores",
    "gates",
    "exit_code",
}


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> dict[str, Any]:
    return config_for(simulator, write_rows(tmp_path / "questions.jsonl", questions(SAMPLES)))


@pytest.fixture
def path(config: dict[str, Any], tmp_path: Path) -> Path:
    return write_config(tmp_path / "my.yaml", config)


def test_a_run_says_how_to_load_it_and_the_same_command_again_begins_another(
    simulator: Simulator, path: Path, tmp_path: Path
) -> None:
    finished = evalrunner("run", path, cwd=tmp_path, env={"NO_COLOR": "1"})
    assert finished.code == 0
    assert f"{SAMPLES} ok" in finished.out
    assert "complete (exit 0)" in finished.out
    (run_dir,) = (tmp_path / "outputs" / "test").iterdir()
    assert f'runner.load("{run_dir}")' in finished.out
    assert len(runner.load(run_dir)) == SAMPLES
    again = evalrunner("run", path, "--json", cwd=tmp_path)
    assert (again.json["run_dir"] == str(run_dir), sent_by(simulator)) == (False, 2 * SAMPLES)
    assert again.json.keys() == SUMMARY
    assert again.err == ""
    assert (run_dir.stat().st_mode & 0o777, (run_dir / "manifest.json").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_dry_run_sends_and_writes_nothing(simulator: Simulator, path: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    shown = evalrunner("run", path, "--dry-run", "--limit", "5", cwd=tmp_path)
    assert shown.code == 0
    assert "5 to send" in shown.out
    assert "What is 0 + 1?" in shown.out
    assert "Nothing was sent." in shown.out
    counted = evalrunner("run", path, "--dry-run", "--json", "--run-dir", tmp_path / "to-be", cwd=tmp_path)
    facts = counted.json
    assert (facts["samples"], facts["requests"], facts["continues"]) == (SAMPLES, SAMPLES, False)
    assert facts["run_dir"] == str(tmp_path / "to-be")
    assert (sent_by(simulator), sorted(tmp_path.iterdir())) == (0, before)


def test_a_dry_run_of_a_run_that_exists_counts_what_is_left_and_changes_nothing(
    simulator: Simulator, config: dict[str, Any], path: Path, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    runner.run(config, run_dir=tmp_path / "run")
    write_rows(tmp_path / "questions.jsonl", questions(SAMPLES + 3))
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    facts = here("run", path, "--dry-run", "--json", "--run-dir", tmp_path / "run").json
    assert (facts["continues"], facts["samples"], facts["requests"]) == (True, SAMPLES + 3, 3)
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before
    assert sent_by(simulator) == SAMPLES


def test_the_newest_unfinished_run_is_continued_and_new_begins_another(
    simulator: Simulator, config: dict[str, Any], path: Path, here: Callable[..., Finished]
) -> None:
    config["limits"]["max_in_flight"] = 1
    write_config(path, config)
    simulator.change(replace(QUICK, faults=FaultRules(script={4: "401"})))
    stopped = runner.run(config)
    assert (stopped.exit_code, stopped.ok) == (5, 3)
    begun = here("run", path, "--new", "--json")
    assert begun.json["run_id"] != stopped.run_id
    assert (begun.code, sent_by(simulator)) == (0, 4 + SAMPLES)
    continued = here("run", path)
    assert continued.code == 0
    assert "continuing" in continued.err
    assert stopped.run_id in continued.err
    assert sent_by(simulator) == 4 + SAMPLES + SAMPLES - 3


def test_a_run_dir_of_another_identity_is_refused_and_a_run_id_is_continued(
    simulator: Simulator, path: Path, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    named = here("run", path, "--run-id", "nightly-1", "--json")
    assert (named.code, named.json["run_id"]) == (0, "nightly-1")
    assert named.json["run_dir"] == str(tmp_path / "outputs" / "test" / "nightly-1")
    refused = here("run", path, "--run-dir", named.json["run_dir"], "--set", "model.name=other")
    assert refused.code == 2
    assert "model.name: the run has 'm', the config says 'other'" in one_message(refused)
    again = here("run", path, "--run-id", "nightly-1", "--json", "--set", "limits.max_in_flight=1")
    assert (again.code, again.json["ok"], sent_by(simulator)) == (0, SAMPLES, SAMPLES)


def test_a_closed_stdout_is_no_trouble(path: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m runner run {path} --run-dir {tmp_path / 'run'} | head -1"
    for _ in range(2):
        finished = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],  # noqa: S607 - a pipe needs a shell
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (finished.returncode, finished.stdout.count("\n")) == (0, 1)
        assert "Traceback" not in finished.stderr
        assert "Broken pipe" not in finished.stderr
    assert len(table(tmp_path / "run")) == SAMPLES


def test_what_models_and_files_say_is_inert_on_the_terminal(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, here: Callable[..., Finished]
) -> None:
    evil = "\x1b]0;owned\x07\x1b[31m\u202etxt"
    rows = [{**row, "question": f"{evil}{row['question']}"} for row in questions(2)]
    rows.append({"id": evil, "question": "[[fault:400]]", "answer": ""})
    write_rows(tmp_path / "questions.jsonl", rows)
    simulator.change(replace(QUICK, answers=AnswerStyle(echo=True)))
    path = write_config(tmp_path / "my.yaml", config)
    finished = evalrunner("run", path, "--debug", "--run-dir", tmp_path / "run", cwd=tmp_path)
    assert finished.code == 3
    assert "\u202e" not in finished.out + finished.err
    assert by_sample(tmp_path / "run")["q0"]["text"].startswith(evil)
    shown = here("run", path, "--dry-run", "--new")
    assert "\u202e" not in shown.out + shown.err


def test_check_asks_little_and_says_what_it_found(
    simulator: Simulator, config: dict[str, Any], path: Path, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    before = sorted(tmp_path.iterdir())
    found = here("check", path, "--json")
    assert found.code == 0
    assert {"server", "servers_not_asked", "model", "requests", "checks", "capabilities", "notify"} == found.json.keys()
    assert 0 < sent_by(simulator) <= found.json["requests"] <= 15
    assert sorted(tmp_path.iterdir()) == before
    shown = here("check", path)
    assert (shown.code, config["model"]["base_url"] in shown.out) == (0, True)
    away = here("check", path, "--set", "model.base_url=http://127.0.0.1:1/v1")
    assert away.code == 6
    assert "cannot connect" in away.out


def test_only_sends_rows_of_the_newest_run_again(simulator: Simulator, config: dict[str, Any], tmp_path: Path) -> None:
    rows = questions(SAMPLES)
    for row in rows[:2]:
        row["question"] += " [[fault:400*1]]"
    write_rows(tmp_path / "questions.jsonl", rows)
    path = write_config(tmp_path / "my.yaml", config)
    first = evalrunner("run", path, "--json", cwd=tmp_path)
    assert (first.code, first.json["failed"]) == (3, 2)
    shown = evalrunner("run", path, "--only", "failed", "--only", "refused", "--dry-run", cwd=tmp_path)
    assert "2 failed: q0, q1" in shown.out
    assert "2 to send, 10 left alone" in shown.out
    facts = evalrunner("run", path, "--only", "failed", "--dry-run", "--json", cwd=tmp_path).json
    assert facts["again"]["by_status"] == {"failed": 2}
    assert [row["sample_id"] for row in facts["again"]["rows"]] == ["q0", "q1"]
    assert sent_by(simulator) == SAMPLES
    again = evalrunner("run", path, "--only", "failed", "--json", cwd=tmp_path)
    assert (again.code, again.json["run_dir"]) == (0, first.json["run_dir"])
    assert (again.json["by_status"], again.json["superseded"], sent_by(simulator)) == ({"ok": SAMPLES}, 2, SAMPLES + 2)
    nothing = evalrunner("run", path, "--only", "failed", cwd=tmp_path)
    assert (nothing.code, sent_by(simulator)) == (0, SAMPLES + 2)
    assert "no row has the status failed: nothing is sent" in nothing.err
