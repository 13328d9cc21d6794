"""Ctrl-C, once and twice, and SIGTERM: answers under way come in, or are let go; the run can be resumed."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.simulate import Fixed, Latency
from tests.support.commands import finish, started
from tests.support.runs import check_books, config_for, questions, sent_by, table, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator

SAMPLES = 24
IN_FLIGHT = 4
_PATIENCE_S = 30


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> dict[str, Any]:
    dataset = write_rows(tmp_path / "questions.jsonl", questions(SAMPLES))
    return config_for(simulator, dataset, limits={"max_in_flight": IN_FLIGHT})


def wait_until_in_flight(simulator: Simulator) -> None:
    """Wait until a first round is answered and the next one is under way."""
    last = time.monotonic() + _PATIENCE_S
    while sent_by(simulator) < 2 * IN_FLIGHT or simulator.statistics().in_flight < IN_FLIGHT:
        assert time.monotonic() < last, "the run never sent its requests"
        time.sleep(0.005)


def serve_slowly(simulator: Simulator) -> None:
    simulator.change(replace(QUICK, latency=Latency(first_token=Fixed(0.5))))


def rest_is_sent(config: dict[str, Any], simulator: Simulator, run_dir: Path, kept: int, lost: int = 0) -> None:
    simulator.change(QUICK)
    assert len(table(run_dir)) <= kept
    summary = runner.run(config, run_dir=run_dir)
    assert (summary.exit_code, summary.ok) == (0, SAMPLES)
    assert sent_by(simulator) == SAMPLES + lost
    if not lost:
        check_books(summary, simulator)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_answers_under_way_come_in(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, number: int, exit_code: int
) -> None:
    serve_slowly(simulator)
    path, run_dir = write_config(tmp_path / "my.yaml", config), tmp_path / "run"
    with started("run", path, "--run-dir", run_dir, cwd=tmp_path) as process:
        wait_until_in_flight(simulator)
        process.send_signal(number)
        finished = finish(process)
    assert finished.code == exit_code
    assert "again stops at once" in finished.err
    assert f"evalrunner resume {run_dir}" in finished.out
    sent = sent_by(simulator)
    assert sent < SAMPLES
    assert simulator.statistics().answered == len(table(run_dir)) == sent
    manifest = orjson.loads((run_dir / "manifest.json").read_bytes())
    assert (manifest["status"], manifest["summary"]["exit_code"]) == ("interrupted", exit_code)
    rest_is_sent(config, simulator, run_dir, sent)


def test_a_second_signal_stops_at_once(simulator: Simulator, config: dict[str, Any], tmp_path: Path) -> None:
    rows = [{**row, "question": f"{row['question']} [[fault:hang]]"} for row in questions(SAMPLES)[2 * IN_FLIGHT :]]
    write_rows(tmp_path / "questions.jsonl", [*questions(2 * IN_FLIGHT), *rows])
    path, run_dir = write_config(tmp_path / "my.yaml", config), tmp_path / "run"
    with started("run", path, "--run-dir", run_dir, "--json", "--debug", cwd=tmp_path) as process:
        wait_until_in_flight(simulator)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "again stops at once" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        finished = finish(process)
    assert finished.code == 130
    assert f"{IN_FLIGHT} requests under way are let go" in finished.err
    assert (finished.json["exit_code"], finished.json["status"]) == (130, "interrupted")
    assert finished.json["ok"] == 2 * IN_FLIGHT
    cut = [row["error_kind"] for row in table(run_dir, "attempts") if row["error_kind"]]
    assert cut == ["cancelled"] * IN_FLIGHT
    write_rows(tmp_path / "questions.jsonl", questions(SAMPLES))
    assert runner.run(config, run_dir=run_dir).exit_code == 0
    assert sent_by(simulator) == SAMPLES + IN_FLIGHT
