"""What dooms every row stops the run within three requests of what was under way, keeps that, and says what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from runner.simulate import FaultRules, Fixed, Latency, Uniform
from tests.support.runs import config_for, questions, run_again, table, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator, SimulatorOptions

# So that answers to what is under way come in before and after the one that stops the run.
BUSY = replace(QUICK, latency=Latency(first_token=Uniform(0.005, 0.05)))
BEYOND = 3
ANSWERS_BEFORE = 300


@dataclass(frozen=True, slots=True)
class Stopping:
    """A server that stops answering for good: how, what that is called, and a word of what is to be done about it."""

    options: SimulatorOptions
    error_kind: str
    http_status: int
    answers: int
    advice: str


def from_request(number: int, kind: str) -> SimulatorOptions:
    return replace(BUSY, faults=FaultRules(script=dict.fromkeys(range(number, 4000), kind)))


CASES = {
    "401 from the start": Stopping(from_request(1, "401"), "auth", 401, 0, "model.api_key_env"),
    "401 amid": Stopping(from_request(ANSWERS_BEFORE + 1, "401"), "auth", 401, ANSWERS_BEFORE, "model.api_key_env"),
    "403 before any answer": Stopping(from_request(1, "403"), "auth", 403, 0, "model.api_key_env"),
    "unknown model": Stopping(replace(BUSY, models=("other",)), "model_not_found", 404, 0, "model.name"),
    "quota, 429": Stopping(replace(BUSY, quota_after=ANSWERS_BEFORE), "quota", 429, ANSWERS_BEFORE, "add credit"),
    "quota, 402": Stopping(
        from_request(ANSWERS_BEFORE + 1, "402"), "quota", 402, ANSWERS_BEFORE, "then resume the run"
    ),
}


@pytest.mark.parametrize("in_flight", [64, 256])
@pytest.mark.parametrize("case", CASES)
def test_a_run_stops_within_three_requests_and_resumes_without_paying_twice(
    simulator: Simulator, tmp_path: Path, case: str, in_flight: int
) -> None:
    stopping, rows = CASES[case], 1200
    dataset = write_rows(tmp_path / "data.jsonl", questions(rows))
    config = config_for(simulator, dataset, limits={"max_in_flight": in_flight})
    simulator.change(stopping.options)
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.status, summary.failed) == (5, "stopped", 0)
    # All that was answered is kept, what was under way with the first such answer included.
    assert summary.ok == stopping.answers == simulator.statistics().answered
    refused = [row for row in table(summary.run_dir, "attempts") if row["error_kind"] is not None]
    assert {(row["error_kind"], row["http_status"]) for row in refused} == {(stopping.error_kind, stopping.http_status)}
    assert sent <= stopping.answers + in_flight + BEYOND
    told_at = min(row["started_at"].timestamp() + row["latency_s"] for row in refused)
    late = [row for row in table(summary.run_dir, "attempts") if row["started_at"].timestamp() > told_at]
    assert len(late) <= BEYOND
    assert any(f"HTTP {stopping.http_status}" in warning and stopping.advice in warning for warning in summary.warnings)
    simulator.change(QUICK)
    again, sent_again = run_again(config, tmp_path / "run", simulator)
    assert (again.exit_code, again.status, again.ok) == (0, "complete", rows)
    assert sent_again == rows - stopping.answers
    paid = Counter(entry.digest for entry in simulator.ledger.entries() if entry.answered)
    assert len(paid) == rows
    assert set(paid.values()) == {1}


def test_slow_answers_that_were_under_way_are_waited_for(simulator: Simulator, tmp_path: Path) -> None:
    """The stop comes at once, the answers of the others half a second later."""
    in_flight = 64
    dataset = write_rows(tmp_path / "data.jsonl", questions(400))
    config = config_for(simulator, dataset, limits={"max_in_flight": in_flight})
    slow = replace(QUICK, latency=Latency(first_token=Fixed(0.5)), faults=FaultRules(script={in_flight: "402"}))
    simulator.change(slow)
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok) == (5, sent - 1)
    assert in_flight <= sent <= in_flight + BEYOND
