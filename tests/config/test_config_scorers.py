"""Entries of `scorers`: which there are, their options, and what is said of others, with the line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict, to_dict
from runner.config.scorers import scorer_model
from runner.scorers import SCORERS

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = """\
name: demo
dataset: {path: data.jsonl}
model: {base_url: "http://127.0.0.1:8000/v1", name: m}
scorers:
"""
WANTED: dict[str, dict[str, Any]] = {
    "embedding_similarity": {"against": "../other"},
    "json_schema": {"schema": {}},
    "python": {"function": "a:b"},
    "regex": {"pattern": "a"},
}


@pytest.mark.parametrize("name", SCORERS)
def test_every_scorer_is_taken_with_what_it_wants(name: str, complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    wanted = WANTED.get(name, {})
    assert complaints({"scorers": [{"name": name, "as": "s", **wanted}]}) == []
    missing = complaints({"scorers": [{"name": name}]})
    assert [one.split(" (")[0] for one in missing] == [f'scorers.0: missing key "{key}"' for key in wanted]


@pytest.mark.parametrize("name", SCORERS)
def test_every_option_is_described(name: str) -> None:
    schema = scorer_model(name).model_json_schema(by_alias=True)
    assert schema["additionalProperties"] is False
    assert all(option["description"] for option in schema["properties"].values())


@pytest.mark.parametrize("name", SCORERS)
def test_every_option_stands_in_the_document(name: str) -> None:
    document = (Path(__file__).parents[2] / "docs" / "scores.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in document
    options = {one.name for one in fields(SCORERS[name].options)}
    section = document.partition(f"### `{name}`\n")[2].partition("\n#")[0]
    assert {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")} == options


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            "- {name: exactmatch}",
            'run.yaml:5:6: scorers.0.name: there is no scorer "exactmatch" (did you mean "exact_match"?)',
        ),
        (
            "- {name: exact_match, ignorecase: true}",
            'run.yaml:5:25: scorers.0.ignorecase: unknown key (did you mean "ignore_case"?)',
        ),
        (
            "- {name: numeric}\n  - {name: numeric, as: n, tolerance: -1}",
            "run.yaml:6:28: scorers.1.tolerance: expected 0 or more, found -1",
        ),
        (
            "- {name: exact_match, ignore_case: 1}",
            "run.yaml:5:25: scorers.0.ignore_case: expected true or false, found 1",
        ),
        (
            "- {name: exact_match}\n  - {name: exact_match}",
            (
                'run.yaml:6:5: scorers.1: an earlier score is called "exact_match", too '
                "(give one of them a name of its own: as: …)"
            ),
        ),
        (
            "- {name: rouge_l, measure: f1}",
            'run.yaml:5:21: scorers.0.measure: expected fmeasure, precision or recall, found "f1"',
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(lines: str, problem: str, load_problems: Callable[..., list[str]]) -> None:
    assert load_problems(f"{HEAD}  {lines}\n") == [problem]


def test_no_key_gets_into_the_manifest_by_an_option(complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    for options in ({"judge": "sk-proj-0123456789abcdefghijklmn"}, {"api_key": "0123"}):
        (only,) = complaints({"scorers": [{"name": "python", "function": "a:b", "options": options}]})
        assert only.startswith("scorers.0.options.")
        assert "0123" not in only


@pytest.mark.parametrize("name", ["parse", "in_x", "score_x", "a b", "ü", "a/b", "-a", "x" * 65])
def test_a_score_is_named_so_that_it_can_be_a_column(
    name: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    (only,) = complaints({"scorers": [{"name": "includes", "as": name}]})
    assert "cannot name a score" in only


@pytest.mark.parametrize("spec", [None, 5, "exact_match", [], {"name": 5}, {"name": ""}, {"name": None}, {"as": "x"}])
def test_no_shape_of_an_entry_breaks_the_checks(spec: Any, complaints: Callable[[dict[str, Any]], list[str]]) -> None:
    assert len(complaints({"scorers": [spec]})) == 1


def test_options_are_kept_in_the_manifest_and_the_other_run_as_an_absolute_path(
    values: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    specs = [{"name": "embedding_similarity", "against": "../other"}, {"name": "numeric", "tolerance": 0.5}]
    config = config_from_dict(values({"scorers": specs}), tmp_path)
    assert to_dict(config)["scorers"] == [
        {"name": "embedding_similarity", "as": None, "against": str(tmp_path.parent / "other")},
        {"name": "numeric", "as": None, "tolerance": 0.5},
    ]
    assert config_from_dict(to_dict(config), tmp_path / "elsewhere") == config
