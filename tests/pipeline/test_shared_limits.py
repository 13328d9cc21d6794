"""Runs that share a limit: processes of their own against a strict server, one of them killed; and runs that do not."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import runner
from runner.simulate import Fixed, Latency
from runner.simulate.limits import Limits
from tests.support.commands import evalrunner, finish, started
from tests.support.leaks import find_leaks
from tests.support.runs import config_for, questions, sent_by, table, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

    from runner.simulate import Simulator

PER_MINUTE = 6_000
KEY = "sk-planted-Ab3/x+Yz09q/Vv8=="
VARIABLE = "EVALRUNNER_TEST_KEY"
# Twice as much as a second's worth may come at once: the machine of a test is busy with other things, too.
STRICT = replace(
    QUICK, limits=Limits(requests_per_minute=PER_MINUTE, burst_s=2.0), latency=Latency(first_token=Fixed(0.05))
)
_PATIENCE_S = 60


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


@pytest.fixture
def start(simulator: Simulator, tmp_path: Path) -> Callable[[ExitStack, str, int], Popen[str]]:
    """Return what starts a run of its own with so many rows, in a folder of its own."""
    simulator.change(STRICT)

    def begin(stack: ExitStack, name: str, rows: int) -> Popen[str]:
        folder = tmp_path / name
        folder.mkdir()
        dataset = write_rows(folder / "questions.jsonl", questions(rows))
        model, limits = {"api_key_env": VARIABLE}, {"max_in_flight": "auto", "requests_per_minute": PER_MINUTE}
        path = write_config(folder / "my.yaml", config_for(simulator, dataset, model=model, limits=limits))
        return stack.enter_context(started("run", path, "--run-dir", folder / "run", "--quiet", cwd=folder))

    return begin


def shared_events(run_dir: Path) -> list[Any]:
    """Return with how many others a run has found itself, one after the other."""
    try:
        lines = (run_dir / "run.log.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [event["with"] for line in lines if (event := json.loads(line))["event"] == "limits shared"]


def wait_until(found: Callable[[], bool]) -> None:
    last = time.monotonic() + _PATIENCE_S
    while not found():
        assert time.monotonic() < last, "it never came to that"
        time.sleep(0.02)


def leases() -> list[Path]:
    return sorted(cache().glob("*/*.lease"))


def granted() -> list[float]:
    return [json.loads(path.read_bytes())["claims"]["requests"][2] for path in leases()]


def cache() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"]) / "evalrunner" / "limits"


def test_four_processes_stay_under_one_limit_together_and_each_has_its_part(
    simulator: Simulator, start: Callable[[ExitStack, str, int], Popen[str]], tmp_path: Path
) -> None:
    names, rows = ("a", "b", "c", "d"), 250
    with ExitStack() as stack:
        processes = [start(stack, name, rows) for name in names]
        assert [finish(process).code for process in processes] == [0] * 4
    statistics = simulator.statistics()
    assert statistics.answered == 4 * rows
    assert sent_by(simulator) - statistics.answered <= 0.01 * 4 * rows
    sent = [
        sorted(row["started_at"].timestamp() for row in table(tmp_path / name / "run", "attempts")) for name in names
    ]
    # From when all have found each other until the first of them is through.
    begin, end = max(times[0] for times in sent) + 2.0, min(times[-1] for times in sent)
    counts = [sum(begin <= at < end for at in times) for times in sent]
    even = sum(counts) / 4
    assert even > 10
    assert all(0.8 * even <= count <= 1.2 * even for count in counts), counts
    assert leases() == []
    assert find_leaks(KEY, cache()) == []


def test_the_part_of_a_killed_process_returns_to_the_others(
    start: Callable[[ExitStack, str, int], Popen[str]], tmp_path: Path
) -> None:
    runs = [tmp_path / name / "run" for name in ("a", "b", "c")]
    with ExitStack() as stack:
        killed, *others = [start(stack, run.parent.name, 20_000) for run in runs]
        wait_until(lambda: all(shared_events(run)[-1:] == [2] for run in runs))
        status = evalrunner("status", runs[1], "--json", cwd=tmp_path)
        assert status.json["limit_shared_with"] == 2
        killed.send_signal(signal.SIGKILL)
        wait_until(lambda: all(shared_events(run)[-1:] == [1] for run in runs[1:]))
        wait_until(lambda: granted() == pytest.approx([PER_MINUTE / 2] * 2))
        for process in others:
            process.send_signal(signal.SIGINT)
        assert [finish(process).code for process in others] == [130, 130]
    assert leases() == []
    ended = evalrunner("status", runs[1], "--json", cwd=tmp_path)
    assert ended.json["limit_shared_with"] is None


@pytest.mark.parametrize("place", ["file", "relative/path"])
def test_without_a_cache_a_run_has_the_whole_limit_and_says_so_once(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", place if "/" in place else str(tmp_path / place))
    dataset = write_rows(tmp_path / "questions.jsonl", questions(30))
    config = config_for(simulator, dataset, limits={"requests_per_minute": 600_000})
    assert runner.run(config, run_dir=tmp_path / "run").ok == 30
    events = [json.loads(line) for line in (tmp_path / "run" / "run.log.jsonl").read_text().splitlines()]
    (said,) = [event for event in events if event["event"] == "limits not shared"]
    assert said["reason"]


@pytest.mark.parametrize(("notice", "shares"), [("openai", True), ("none", False)])
def test_a_limit_that_is_told_is_shared_and_without_any_nothing_is_written(
    simulator: Simulator, tmp_path: Path, notice: str, *, shares: bool
) -> None:
    simulator.change(replace(STRICT, limits=Limits(requests_per_minute=1_200, burst_s=1.0, notice=notice)))
    dataset = write_rows(tmp_path / "questions.jsonl", questions(60))
    assert runner.run(config_for(simulator, dataset), run_dir=tmp_path / "run").ok == 60
    assert (cache() / "salt").exists() is shares
    assert leases() == []
