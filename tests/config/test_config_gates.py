"""Gates of scores in a config: what they name has to exist, what they ask has to be something that can be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = """\
name: demo
dataset: {path: data.jsonl}
model: {base_url: "http://127.0.0.1:8000/v1", name: m}
scorers: [{name: exact_match}, {name: includes, as: said}, {name: perplexity}]
gates:
"""


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            "  scores:\n    exact_mach: {min: 0.4}\n",
            'run.yaml:7:5: gates.scores.exact_mach: there is no score "exact_mach" (did you mean "exact_match"?)',
        ),
        (
            "  scores:\n    includes: {min: 0.4}\n",
            (
                'run.yaml:7:5: gates.scores.includes: there is no score "includes" '
                "(there are exact_match, said, perplexity)"
            ),
        ),
        (
            "  scores: {said: {max_drop: 0.1}}\n",
            (
                "run.yaml:6:19: gates.scores.said.max_drop: there is nothing to compare with "
                "(gates.baseline: last_good, or the folder of a run)"
            ),
        ),
        (
            "  baseline: last_good\n  scores: {said: {}}\n",
            "run.yaml:7:12: gates.scores.said: asks for nothing (e.g. {min: 0.4}, {max_drop: 0.02}, or both)",
        ),
        (
            "  scores: {perplexity: {min: 3}}\n",
            (
                "run.yaml:6:25: gates.scores.perplexity.min: perplexity is better the lower it is "
                "(max_drop says how much worse than the baseline it may get)"
            ),
        ),
    ],
)
def test_what_cannot_be_judged_is_named_with_its_line(
    lines: str, problem: str, load_problems: Callable[..., list[str]]
) -> None:
    assert load_problems(HEAD + lines) == [problem]


def test_gates_without_any_scorer_are_told_what_is_missing(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert complaints({"gates.scores": {"a": {"min": 1}}}) == [
        'gates.scores.a: there is no score "a" (the config has no scorers, e.g. scorers: [{name: exact_match}])'
    ]


def test_every_problem_comes_at_once(load_problems: Callable[..., list[str]]) -> None:
    lines = "  scores:\n    said: {max_drop: 0.1}\n    other: {min: 1}\n    exact_match: {min: high}\n"
    assert [one.split(":")[1] for one in load_problems(HEAD + lines)] == ["7", "8", "9"]


def test_scorers_that_cannot_be_read_are_the_only_thing_said_of(
    complaints: Callable[[dict[str, Any]], list[str]],
) -> None:
    found = complaints({"scorers": [5], "gates.scores": {"a": {"min": 1}}})
    assert found == ["scorers.0: expected a section with keys, found 5"]


@pytest.mark.parametrize(
    "gates",
    [
        {"scores": {"said": {"min": 0.5}}},
        {"scores": {"said": {"min": None, "max_drop": 0.0}}, "baseline": "last_good"},
        {"scores": {"perplexity": {"max_drop": 0.5}}, "baseline": "../runs/good"},
        {"scores": {}, "baseline": "last_good"},
    ],
)
def test_what_can_be_judged_is_taken(
    gates: dict[str, Any], values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    scorers = [{"name": "includes", "as": "said"}, {"name": "perplexity"}]
    config = config_from_dict(values({"scorers": scorers, "gates": gates}), tmp_path)
    assert set(config.gates.scores) == set(gates["scores"])
