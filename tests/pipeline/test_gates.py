"""What counts as a miss: least means, drops against a baseline, noise, and what cannot be compared."""

from __future__ import annotations

from typing import Any

import pytest

from runner.comparison import RunFacts
from runner.config import ScoreGate
from runner.pipeline.scores.gatecases import comparison_suite, gate_cases
from runner.pipeline.scores.gates import (
    Baseline,
    describe_gate,
    exit_code_of,
    failed_fraction_gate,
    score_gates,
    unjudged_gates,
)
from tests.support.compared import comparison, score


def facts(mean: float | None, mean_all: float | None, scored: int = 90, rows: int = 100) -> dict[str, Any]:
    return {"em": {"mean": mean, "mean_all": mean_all, "scored": scored, "all": rows}}


def least(limit: float, scores: dict[str, Any]) -> dict[str, Any]:
    (gate,) = score_gates({"em": ScoreGate(min=limit)}, scores, None)
    return gate


def drop(limit: float, baseline: Baseline) -> dict[str, Any]:
    (gate,) = score_gates({"em": ScoreGate(max_drop=limit)}, {}, baseline)
    return gate


def against(found: Any, **more: Any) -> Baseline:
    return Baseline(comparison({"em": found}, **more), "night1", "/outputs/night1")


@pytest.mark.parametrize(
    ("by_status", "limit", "value", "passed"),
    [
        ({}, 0.0, 0.0, True),
        ({"ok": 9, "failed": 1}, 0.1, 0.1, True),
        ({"ok": 9, "failed": 1}, 0.05, 0.1, False),
        ({"ok": 9, "failed": 1, "skipped": 90}, 0.05, 0.1, False),
    ],
)
def test_failed_rows_are_a_fraction_of_those_not_skipped(
    by_status: dict[str, int], limit: float, value: float, *, passed: bool
) -> None:
    gate = failed_fraction_gate(by_status, limit)
    assert gate == {"name": "max_failed_fraction", "limit": limit, "value": value, "passed": passed}


@pytest.mark.parametrize(
    ("mean", "mean_all", "value", "passed"),
    [
        (0.5, 0.4, 0.4, True),
        (0.5, 0.39, 0.39, False),
        (0.2, 0.1, 0.1, False),
        (0.5, None, 0.5, True),
        (0.3, None, 0.3, False),
        (0.4 - 1e-12, 0.4 - 1e-12, 0.4 - 1e-12, True),
        (None, None, None, False),
        (None, 0.0, 0.0, False),
    ],
)
def test_the_least_mean_is_over_all_rows_where_there_is_a_worst(
    mean: float | None, mean_all: float | None, value: float | None, *, passed: bool
) -> None:
    gate = least(0.4, facts(mean, mean_all))
    assert (gate["name"], gate["limit"], gate["value"], gate["passed"]) == ("scores.em.min", 0.4, value, passed)


def test_a_miss_that_failed_rows_make_says_so() -> None:
    assert least(0.4, facts(0.5, 0.39))["note"] == (
        "the mean of the rows with a score is 0.5; 10 without one count as the worst"
    )
    assert "note" not in least(0.4, facts(0.2, 0.1))
    assert least(0.4, {})["note"] == least(0.4, facts(None, None))["note"] == "no row has a score"


@pytest.mark.parametrize(
    ("difference", "verdict", "lower", "passed", "noted"),
    [
        (-0.05, "worse", False, False, False),
        (-0.05, "inconclusive", False, True, True),
        (-0.05, "no difference", False, True, True),
        (-0.02, "worse", False, True, False),
        (0.28 - 0.30, "worse", False, True, False),
        (0.05, "better", False, True, False),
        (0.05, "worse", True, False, False),
        (-0.05, "better", True, True, False),
    ],
)
def test_a_drop_is_a_miss_when_it_is_more_than_the_limit_and_no_noise(
    difference: float, verdict: str, *, lower: bool, passed: bool, noted: bool
) -> None:
    gate = drop(0.02, against(score(difference, verdict, lower_is_better=lower)))
    assert (gate["name"], gate["limit"], gate["passed"]) == ("scores.em.max_drop", 0.02, passed)
    assert gate["value"] == (difference if lower else -difference)
    assert gate["interval"] == pytest.approx([gate["value"] - 0.01, gate["value"] + 0.01])
    assert (gate["verdict"], gate["baseline"], gate["baseline_dir"]) == (verdict, "night1", "/outputs/night1")
    assert ("note" in gate) is noted


def test_noise_is_noted_with_what_the_dataset_could_show() -> None:
    gate = drop(0.02, against(score(-0.05, "inconclusive", minimum_detectable_effect=0.0812)))
    assert gate["note"] == (
        "more than the limit, and within noise: 100 pairs show a difference of 0.0812 or more; "
        "a larger dataset shows less"
    )
    alone = score(-1.0, "inconclusive", interval=None, minimum_detectable_effect=None, pairs=1)
    gate = drop(0.02, against(alone))
    assert (gate["passed"], gate["interval"]) == (True, None)
    assert gate["note"] == "more than the limit, and within noise: 1 pairs tell nothing"


def test_rows_that_failed_in_one_run_are_left_out_and_told() -> None:
    found = score(-0.01, "no difference", difference_all=-0.2, unpaired={"base": 1, "run": 20, "both": 0})
    gate = drop(0.02, against(found))
    assert gate["passed"] is True
    assert gate["note"] == "21 pairs without both answers are left out; with them as the worst it is 0.2"


def test_another_model_is_told() -> None:
    base = RunFacts("night1", "/outputs/night1", "demo", "old", "complete", 100)
    assert drop(0.02, against(score(), base=base))["note"] == "the baseline is of old"


@pytest.mark.parametrize("binding", [True, False])
@pytest.mark.parametrize(
    ("made", "note", "why"),
    [
        (None, "cannot be compared: no", "cannot be compared: no"),
        (comparison({}, {"em": "other options"}), "", "other options"),
        (comparison({}), "", "the runs have no row in common of which both have this score"),
        (comparison({"em": score(None)}), "", "the runs have no row in common of which both have this score"),
    ],
)
def test_what_cannot_be_compared_is_a_miss_with_a_baseline_that_somebody_named(
    made: Any, note: str, why: str, *, binding: bool
) -> None:
    gate = drop(0.02, Baseline(made, "night1", "/outputs/night1", note, binding))
    assert (gate["passed"], gate["value"], gate["note"]) == (not binding, None, why)
    assert (gate["baseline"], gate["interval"], gate["verdict"]) == ("night1", None, None)


@pytest.mark.parametrize(
    ("passed", "code"),
    [
        ((True, True, True), 0),
        ((True, None, None), 0),
        ((True, False, True), 4),
        ((True, True, False), 4),
        ((False, False, True), 3),
        ((False, None, None), 3),
    ],
)
def test_failed_rows_come_before_scores(passed: tuple[bool | None, ...], code: int) -> None:
    names = ("max_failed_fraction", "scores.em.min", "scores.em.max_drop")
    assert exit_code_of([{"name": name, "passed": one} for name, one in zip(names, passed, strict=True)]) == code


def test_gates_nobody_judged_are_all_there() -> None:
    gates = unjudged_gates({"em": ScoreGate(min=0.4, max_drop=0.1), "other": ScoreGate(min=1)}, "not complete")
    assert [(gate["name"], gate["limit"], gate["passed"]) for gate in gates] == [
        ("scores.em.min", 0.4, None),
        ("scores.em.max_drop", 0.1, None),
        ("scores.other.min", 1, None),
    ]
    assert exit_code_of(gates) == 0


def test_gates_are_read_on_one_line() -> None:
    assert describe_gate(least(0.4, facts(0.5, 0.4))) == "0.4, at least 0.4"
    assert describe_gate(least(0.4, facts(0.399999, 0.399999))) == "0.399999, at least 0.4"
    gate = drop(0.02, against(score(-0.05, "worse")))
    assert describe_gate(gate) == "0.05, at most 0.02; 95 % interval [0.04, 0.06], worse; against night1"
    assert describe_gate(unjudged_gates({"em": ScoreGate(min=0.4)}, "not complete")[0]) == (
        "no value, at least 0.4 (not complete)"
    )


def test_gates_are_cases_by_how_they_ended() -> None:
    gates = [least(0.4, facts(0.5, 0.4)), least(0.4, facts(0.3, 0.3)), unjudged_gates({"a": ScoreGate(min=1)}, "no")[0]]
    passed, failed, skipped = gate_cases("demo", gates)
    assert (passed.name, passed.classname, passed.system_out) == ("scores.em.min", "demo", "0.4, at least 0.4")
    assert (passed.failure, failed.failure, failed.skipped) == (None, "0.3, at least 0.4", None)
    assert (skipped.failure, skipped.skipped) == (None, "no value, at least 1 (no)")


def test_a_score_without_a_gate_fails_where_it_is_worse() -> None:
    found = comparison(
        {"em": score(-0.05, "worse"), "said": score(-0.05, "worse"), "far": score(0.05, "better"), "no": score(None)},
        {"other": "only the run has this score"},
    )
    gates = score_gates({"em": ScoreGate(max_drop=0.1)}, {}, Baseline(found, "night1", "/outputs/night1"))
    suite = comparison_suite(found, gates)
    assert suite.name == "demo"
    assert suite.properties == {"base": "night1", "run": "night2", "verdict": "no difference"}
    said, far, none, other, em = suite.cases
    assert (said.name, said.failure) == (
        "scores.said",
        "worse: 0.5 → 0.45, difference -0.05 [-0.06, -0.04], 100 pairs",
    )
    assert (far.failure, far.system_out) == (None, "better: 0.5 → 0.55, difference +0.05 [+0.04, +0.06], 100 pairs")
    assert none.system_out == "no difference: no pair has both scores"
    assert (other.name, other.skipped) == ("scores.other", "only the run has this score")
    assert (em.name, em.failure) == ("scores.em.max_drop", None)
