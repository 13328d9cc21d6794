"""Retries where much fails: every row completes, few requests are wasted, and a hung request holds nobody up."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

import runner
from runner.config import config_from_dict
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from runner.pipeline.opening import sealing_of
from runner.pipeline.storing.reseal import reseal
from runner.simulate import FaultRules, Fixed, Latency, Limits
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import by_sample, config_for, questions, run_again, sent_by, write_rows
from tests.support.serving import QUICK, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.odd_server import Call

# Without 429: a limiter that hears of its rate from refusals slows down for them, and the test would take its time.
PASSING = ("500", "502", "503", "529", "408", "html_200", "disconnect")


def script(share: Callable[[int], float], requests: int) -> dict[int, str]:
    """Return which requests fail, and how, where `share(number)` of them do."""
    chance = Random(11)  # noqa: S311 - a seed, not a secret
    return {number: chance.choice(PASSING) for number in range(1, requests) if chance.random() < share(number)}


# ---------------------------------------------------------------- mixed faults


def test_mixed_faults_and_a_storm_fail_no_row_and_waste_no_request(simulator: Simulator, tmp_path: Path) -> None:
    """Seven in a hundred fail throughout, and half of those between the 300th and the 900th request."""
    rows = 1200
    faults = script(lambda number: 0.5 if 300 <= number < 900 else 0.07, 10 * rows)
    dataset = write_rows(tmp_path / "data.jsonl", questions(rows))
    config = config_for(
        simulator,
        dataset,
        limits={"max_in_flight": 32, "requests_per_minute": 24_000},
        retry={"max_attempts": 8, "first_wait_s": 0.05, "max_wait_s": 0.5},
    )
    simulator.change(
        replace(QUICK, limits=Limits(requests_per_minute=24_000, burst_s=10), faults=FaultRules(script=faults))
    )
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok, summary.failed) == (0, rows, 0)
    met = sum(entry.fault is not None for entry in simulator.ledger.entries())
    assert met > 300
    assert rows + met <= sent <= 1.1 * (rows + met) + 100


def test_a_storm_defers_rows_while_fresh_ones_flow(simulator: Simulator, tmp_path: Path) -> None:
    rows = 1500
    faults = script(lambda number: 0.5 if number < 1200 else 0.0, 1200)
    faults = dict.fromkeys(faults, "500")
    dataset = write_rows(tmp_path / "data.jsonl", questions(rows))
    config = config_for(
        simulator, dataset, limits={"max_in_flight": 16}, retry={"max_attempts": 8, "max_wait_s": 0.002}
    )
    simulator.change(replace(QUICK, faults=FaultRules(script=faults)))
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok) == (0, rows)
    # While the storm lasted retries were at most a hundred and a tenth of the answers; the rest came after it.
    seen: Counter[str] = Counter()
    again = answers = 0
    for entry in simulator.ledger.entries():
        if entry.number < 1200:
            again += seen[entry.digest] > 0
            answers += entry.answered
            seen[entry.digest] += 1
    assert 100 <= again <= 100 + 0.1 * answers + 16


def test_a_dataset_of_rows_that_wait_for_the_budget_is_not_stalled(simulator: Simulator, tmp_path: Path) -> None:
    """Three in four of them fail at first, and nothing else is left that could fill the budget."""
    rows = 120
    failing = [number for number in range(1, rows + 101) if number % 4]
    dataset = write_rows(tmp_path / "data.jsonl", questions(rows))
    config = config_for(simulator, dataset, limits={"max_in_flight": 64}, retry={"max_attempts": 8})
    simulator.change(replace(QUICK, faults=FaultRules(script=dict.fromkeys(failing, "503"))))
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok, summary.failed) == (0, rows, 0)
    assert sent == rows + len(failing)  # a hundred retries met it, too, and used the budget up


# ---------------------------------------------------------------- requests that hang


def test_a_request_that_hangs_holds_up_nobody_and_is_sent_again_once_its_time_is_out(tmp_path: Path) -> None:
    rows, hangs = 600, (100, 300)
    dataset = write_rows(tmp_path / "data.jsonl", questions(rows))
    options = replace(QUICK, latency=Latency(first_token=Fixed(0.005)))
    with serving(replace(options, faults=FaultRules(script=dict.fromkeys(hangs, "hang")))) as simulator:
        config = config_for(
            simulator, dataset, request={"timeout_s": {"connect": 5, "total": 1}}, retry={"max_attempts": 8}
        )
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.ok, summary.retries, sent_by(simulator)) == (rows, len(hangs), rows + len(hangs))
        entries = list(simulator.ledger.entries())
    for hung in hangs:
        again = [entry.number for entry in entries if entry.digest == entries[hung - 1].digest]
        assert again[0] == hung
        assert again[1] - hung > 50  # others, meanwhile


# ---------------------------------------------------------------- poison


@pytest.fixture
def poisoned(simulator: Simulator, tmp_path: Path) -> tuple[dict[str, object], Path]:
    rows = questions(200)
    for number, kind in ((3, "500"), (40, "disconnect"), (77, "502"), (90, "500*2")):
        rows[number]["question"] += f" [[fault:{kind}]]"
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    # One after the other: what the row at 90 meets is mended after those before it have ended.
    config = config_for(
        simulator, dataset, limits={"max_in_flight": 1}, retry={"max_attempts": 8, "first_wait_s": 0.0001}
    )
    return config, tmp_path / "run"


def test_a_poison_row_ends_after_three_attempts_and_is_not_sent_again(
    simulator: Simulator, poisoned: tuple[dict[str, object], Path]
) -> None:
    config, run_dir = poisoned
    summary, _ = run_again(config, run_dir, simulator)
    assert (summary.exit_code, summary.ok, summary.failed) == (3, 197, 3)
    rows = by_sample(run_dir)
    ends = {name: (row["error_kind"], row["attempts"]) for name, row in rows.items() if row["error_kind"]}
    # A connection that breaks the first time is taken for one that had been closed before.
    assert ends == {"q3": ("server", 3), "q40": ("disconnect", 4), "q77": ("server", 3)}
    assert all("3 times the same, while other rows were answered" in rows[name]["error_message"] for name in ends)
    assert (rows["q90"]["status"], rows["q90"]["attempts"]) == ("ok", 3)
    again, sent = run_again(config, run_dir, simulator)
    assert (again.exit_code, again.failed, sent) == (3, 3, 0)


def test_reseal_keeps_poison_from_being_sent_again(
    simulator: Simulator, poisoned: tuple[dict[str, object], Path]
) -> None:
    config, run_dir = poisoned
    run_again(config, run_dir, simulator)
    folder = RunFolder(run_dir)
    manifest = read_manifest(folder)
    reseal(sealing_of(folder, manifest, config_from_dict(manifest.config, run_dir)), read_commits(folder))
    assert run_again(config, run_dir, simulator)[1] == 0


def test_rows_whose_failures_vary_go_on_and_are_sent_again_later(tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        if "What is 5 +" not in call.question:
            return completion("fine")
        fate = chr(97 + call.number % 20) * 3
        return Reply(500, f'{{"error": {{"message": "worker {fate} died"}}}}'.encode())

    dataset = write_rows(tmp_path / "data.jsonl", questions(60))
    with answering(answer) as base_url:
        config = {
            "name": "test",
            "dataset": {"path": str(dataset), "id": "id"},
            "model": {"base_url": base_url, "name": "m"},
            "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
            "limits": {"max_in_flight": 2},
            "retry": {"max_attempts": 6, "first_wait_s": 0.0001, "max_wait_s": 0.001},
        }
        runner.run(config, run_dir=tmp_path / "run")
        row = by_sample(tmp_path / "run")["q5"]
        assert (row["status"], row["attempts"]) == ("failed", 6)
        assert runner.run(config, run_dir=tmp_path / "run").superseded == 1


def test_while_nobody_is_answered_a_row_has_all_its_attempts(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(4))
    config = config_for(simulator, dataset, retry={"max_attempts": 6})
    simulator.change(replace(QUICK, faults=FaultRules(script=dict.fromkeys(range(1, 100), "500"))))
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.failed, sent) == (4, 24)
    simulator.change(QUICK)
    assert run_again(config, tmp_path / "run", simulator)[0].ok == 4
