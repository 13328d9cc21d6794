"""Runs that are judged when they end: by least means, and against the last good run or one that is named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.errors import ConfigError
from runner.folder.layout import RunFolder
from runner.pipeline.scores import judging
from runner.pipeline.storing.verify import verify
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import config_for, questions, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner import RunSummary
    from tests.support.odd_server import Call

SAMPLES = 40
LAST_GOOD = {"baseline": "last_good", "scores": {"exact_match": {"max_drop": 0.02}}}


def answers(wrong: int, failing: int = 0, stopping: int = 0) -> Callable[[Call], Reply]:
    """Answer the first questions wrongly, fail the next ones; refuse the key from the last ones on."""

    def reply(call: Call) -> Reply:
        number = int(call.question.split()[2])
        if number >= SAMPLES - stopping:
            return Reply(402, b'{"error": {"message": "no credit left", "type": "insufficient_quota"}}')
        if wrong <= number < wrong + failing:
            return Reply(400, b'{"error": {"message": "no", "type": "invalid_request_error"}}')
        return completion("wrong" if number < wrong else f"{number + 1}")

    return reply


@pytest.fixture
def night(tmp_path: Path) -> Callable[..., RunSummary]:
    """Run the same config once more, with as many wrong answers as are asked for."""
    rows = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))

    def carry_out(
        wrong: int, gates: dict[str, Any], *, failing: int = 0, stopping: int = 0, **sections: Any
    ) -> RunSummary:
        with answering(answers(wrong, failing, stopping)) as url:
            server = type("Server", (), {"base_url": url})()
            base = {"scorers": [{"name": "exact_match"}], "limits": {"max_in_flight": 2}}
            config = config_for(server, rows, gates=gates, **{**base, **sections})
            number = len(list((tmp_path / "outputs" / "test").glob("*")))
            return runner.run(config, run_dir=tmp_path / "outputs" / "test" / f"night{number}")

    return carry_out


def manifest_of(summary: RunSummary) -> Any:
    return orjson.loads((Path(summary.run_dir) / "manifest.json").read_bytes())


def gate_of(summary: RunSummary, name: str = "scores.exact_match.max_drop") -> dict[str, Any]:
    assert manifest_of(summary)["summary"]["gates"] == summary.gates
    (gate,) = (gate for gate in summary.gates if gate["name"] == name)
    return gate


def test_a_least_mean_decides_between_exit_0_and_4(night: Callable[..., RunSummary]) -> None:
    reached = night(10, {"scores": {"exact_match": {"min": 0.75}}})
    assert (reached.exit_code, reached.status) == (0, "complete")
    assert gate_of(reached, "scores.exact_match.min") == {
        "name": "scores.exact_match.min",
        "limit": 0.75,
        "value": 0.75,
        "passed": True,
    }
    missed = night(11, {"scores": {"exact_match": {"min": 0.75}}})
    assert (missed.exit_code, missed.status) == (4, "complete")
    assert manifest_of(missed)["sessions"][-1]["exit_code"] == 4
    assert gate_of(missed, "scores.exact_match.min")["passed"] is False


def test_a_failed_row_is_no_pass_and_too_many_of_them_come_first(night: Callable[..., RunSummary]) -> None:
    gates = {"scores": {"exact_match": {"min": 0.9}}, "max_failed_fraction": 0.5}
    summary = night(0, gates, failing=8)
    gate = gate_of(summary, "scores.exact_match.min")
    assert (summary.exit_code, gate["value"], gate["passed"]) == (4, 0.8, False)
    assert gate["note"] == "the mean of the rows with a score is 1; 8 without one count as the worst"
    assert night(0, {**gates, "max_failed_fraction": 0.1}, failing=8).exit_code == 3


def test_nights_are_judged_against_the_last_good_one(night: Callable[..., RunSummary]) -> None:
    first = night(4, LAST_GOOD)
    assert first.exit_code == 0
    assert gate_of(first) == {
        "name": "scores.exact_match.max_drop",
        "limit": 0.02,
        "value": None,
        "passed": True,
        "baseline": None,
        "baseline_dir": None,
        "interval": None,
        "verdict": None,
        "note": "no good run yet to compare with",
    }
    worse = night(20, LAST_GOOD)
    gate = gate_of(worse)
    assert (worse.exit_code, gate["passed"], gate["verdict"]) == (4, False, "worse")
    assert gate["value"] == pytest.approx(16 / 40)
    assert gate["interval"][0] < 16 / 40 < gate["interval"][1]
    assert (gate["baseline"], gate["baseline_dir"], gate["pairs"]) == (first.run_id, first.run_dir, SAMPLES)
    noise = night(6, LAST_GOOD)
    gate = gate_of(noise)
    # Not the night before, which was no good one.
    assert (noise.exit_code, gate["passed"], gate["baseline"]) == (0, True, first.run_id)
    assert gate["value"] == pytest.approx(2 / 40)
    assert "within noise: 40 pairs show a difference of" in gate["note"]
    better = night(4, LAST_GOOD)
    assert (better.exit_code, gate_of(better)["baseline"]) == (0, noise.run_id)
    assert gate_of(better)["value"] == pytest.approx(-2 / 40)


def test_a_named_run_stays_the_baseline(night: Callable[..., RunSummary]) -> None:
    first = night(4, {"max_failed_fraction": 0.0})
    named = {"baseline": first.run_dir, "scores": {"exact_match": {"max_drop": 0.1}}}
    assert night(5, named).exit_code == 0
    worse = night(20, named)
    assert (worse.exit_code, gate_of(worse)["baseline"]) == (4, first.run_id)


def test_other_scorers_are_a_miss_with_a_named_run_and_none_with_the_last_good_one(
    night: Callable[..., RunSummary],
) -> None:
    first = night(4, {"max_failed_fraction": 0.0})
    changed = [{"name": "exact_match", "ignore_case": True}]
    follows = night(4, LAST_GOOD, scorers=changed)
    assert (follows.exit_code, gate_of(follows)["passed"]) == (0, True)
    assert "other options" in gate_of(follows)["note"]
    named = night(4, {**LAST_GOOD, "baseline": first.run_dir}, scorers=changed)
    assert (named.exit_code, gate_of(named)["passed"]) == (4, False)
    assert "other options" in gate_of(named)["note"]
    assert gate_of(night(4, LAST_GOOD, scorers=changed))["baseline"] == follows.run_id


def test_a_baseline_that_cannot_be_read_is_a_miss_whatever_it_is(night: Callable[..., RunSummary]) -> None:
    first = night(4, LAST_GOOD)
    part = max((Path(first.run_dir) / "responses").iterdir())
    part.write_bytes(part.read_bytes()[:-100])
    summary = night(4, LAST_GOOD)
    gate = gate_of(summary)
    assert (summary.exit_code, summary.status, gate["passed"]) == (4, "complete", False)
    assert gate["note"].startswith("cannot be read: ")
    assert gate["baseline_dir"] == first.run_dir


def test_a_run_that_is_not_complete_is_not_judged(night: Callable[..., RunSummary]) -> None:
    gates = {**LAST_GOOD, "scores": {"exact_match": {"min": 1.0, "max_drop": 0.0}}}
    summary = night(4, gates, stopping=5)
    assert (summary.exit_code, summary.status) == (5, "stopped")
    assert [gate["passed"] for gate in summary.gates] == [True, None, None]
    assert summary.gates[1]["note"] == "the run is not complete"


def test_a_bug_in_judging_loses_neither_answers_nor_the_end_of_the_run(
    night: Callable[..., RunSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    night(4, LAST_GOOD)

    def broken(*_arguments: Any, **_more: Any) -> None:
        raise ZeroDivisionError("what a bug says")

    monkeypatch.setattr(judging, "compare", broken)
    summary = night(4, LAST_GOOD)
    assert (summary.exit_code, summary.ok) == (1, SAMPLES)
    assert gate_of(summary)["passed"] is None
    assert "internal error while judging the gates: ZeroDivisionError" in gate_of(summary)["note"]
    assert any("judging the gates" in warning for warning in summary.warnings)
    assert verify(RunFolder(Path(summary.run_dir))).findings == []
    monkeypatch.undo()
    again = runner.run(manifest_of(summary)["config"], run_dir=summary.run_dir)
    assert (again.exit_code, again.http_requests, gate_of(again)["passed"]) == (0, SAMPLES, True)


@pytest.mark.parametrize(
    ("prepare", "named"),
    [
        (shutil.rmtree, "this is not a run folder"),
        (lambda base: (base / "manifest.json").write_bytes(b"{"), "the manifest cannot be read"),
    ],
)
def test_a_named_baseline_that_is_no_run_is_refused_before_anything_is_sent(
    prepare: Callable[[Path], Any], named: str, night: Callable[..., RunSummary]
) -> None:
    first = night(4, {"max_failed_fraction": 0.0})
    prepare(Path(first.run_dir))
    with pytest.raises(ConfigError, match=named) as caught:
        night(4, {**LAST_GOOD, "baseline": first.run_dir})
    assert [problem.where for problem in caught.value.problems] == ["gates.baseline"]


def test_a_named_baseline_without_the_score_is_refused(night: Callable[..., RunSummary]) -> None:
    first = night(4, {}, scorers=[{"name": "includes"}])
    with pytest.raises(ConfigError, match="the run has no score exact_match") as caught:
        night(4, {**LAST_GOOD, "baseline": first.run_dir})
    assert f"evalrunner score {first.run_dir} --set" in caught.value.problems[0].hint
    gates = {"baseline": first.run_dir, "scores": {"exact_match": {"min": 0.5}}}
    assert night(4, gates).exit_code == 0
