"""Budgets and estimates as users meet them: `--max-cost`, what a stop says, a dry run held to what was counted."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.commands import evalrunner
from tests.support.runs import config_for, questions, sent_by, write_config, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator

ROWS = 60
PRICE = {"input_per_million": 1000.0, "output_per_million": 4000.0}
STOPPED, USAGE = 5, 2


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> dict[str, Any]:
    rows = [
        {**row, "question": row["question"] + " Explain." * (number % 7)} for number, row in enumerate(questions(ROWS))
    ]
    config = config_for(simulator, write_rows(tmp_path / "questions.jsonl", rows), model={"price": PRICE})
    config["request"]["params"] = {"max_completion_tokens": 20}
    return config


@pytest.fixture
def path(config: dict[str, Any], tmp_path: Path) -> Path:
    return write_config(tmp_path / "my.yaml", config)


def test_a_cost_cap_stops_a_run_and_a_larger_one_goes_on(simulator: Simulator, path: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    stopped = evalrunner("run", path, "--run-dir", run_dir, "--max-cost", "1.5", cwd=tmp_path)
    assert stopped.code == STOPPED
    assert "stopped (exit 5)" in stopped.out
    assert "the budget of $1.5 is used up" in stopped.out
    assert "--max-cost USD" in stopped.out
    sent = sent_by(simulator)
    assert 0 < sent < ROWS
    resumed = evalrunner("resume", run_dir, "--json", cwd=tmp_path)
    assert (resumed.code, sent_by(simulator)) == (STOPPED, sent)  # the folder's config has the cap
    ended = evalrunner("run", path, "--run-dir", run_dir, "--max-cost", "100", "--json", cwd=tmp_path)
    assert (ended.code, ended.json["ok"], sent_by(simulator)) == (0, ROWS, ROWS)


def test_an_estimate_goes_by_what_an_earlier_run_took(simulator: Simulator, path: Path, tmp_path: Path) -> None:
    guess = evalrunner("run", path, "--dry-run", "--json", cwd=tmp_path).json
    assert (guess["learnt_from"], guess["expected_cost_usd"]) == (None, None)
    few = evalrunner("run", path, "--limit", "15", "--json", cwd=tmp_path).json
    learnt = evalrunner("run", path, "--dry-run", "--json", cwd=tmp_path).json
    shown = evalrunner("run", path, "--dry-run", cwd=tmp_path).out
    assert learnt["learnt_from"] == few["run_id"]
    assert f"by the usage of {few['run_id']}" in shown
    assert sent_by(simulator) == 15
    whole = evalrunner("run", path, "--new", "--json", cwd=tmp_path).json
    for name in ("prompt_tokens", "completion_tokens", "cost_usd"):
        expected = learnt[name if name == "prompt_tokens" else f"expected_{name}"]
        assert expected == pytest.approx(whole[name], rel=0.1)
    assert learnt["completion_tokens"] == ROWS * 20
    assert learnt["cost_usd"] > learnt["expected_cost_usd"]


def test_another_model_teaches_nothing(config: dict[str, Any], path: Path, tmp_path: Path) -> None:
    evalrunner("run", path, "--limit", "15", cwd=tmp_path)
    config["model"]["name"] = "another"
    other = write_config(tmp_path / "other.yaml", config)
    assert evalrunner("run", other, "--dry-run", "--json", cwd=tmp_path).json["learnt_from"] is None


@pytest.mark.skipif(find_spec("genai_prices") is None, reason="the extra `prices` is not installed")
def test_a_known_provider_is_priced_by_the_list(config: dict[str, Any], tmp_path: Path) -> None:
    config["model"] = {"base_url": "https://api.openai.com/v1", "name": "gpt-4o-mini"}
    path = write_config(tmp_path / "my.yaml", config)
    guess = evalrunner("run", path, "--dry-run", "--max-cost", "1", "--json", cwd=tmp_path).json
    assert guess["cost_usd"] > 0
    assert any("counted by genai-prices" in warning for warning in guess["warnings"])
    config["model"] |= {"price": {"input_per_million": 0.0, "output_per_million": 0.0}}
    own = evalrunner("run", write_config(path, config), "--dry-run", "--json", cwd=tmp_path).json
    assert (own["cost_usd"], own["warnings"]) == (0.0, [])


def test_a_cost_cap_without_a_price_is_refused(config: dict[str, Any], simulator: Simulator, tmp_path: Path) -> None:
    del config["model"]["price"]
    refused = evalrunner("run", write_config(tmp_path / "my.yaml", config), "--max-cost", "1", cwd=tmp_path)
    assert refused.code == USAGE
    assert "no price is known for the model m" in refused.err
    assert "model.price" in refused.err
    assert sent_by(simulator) == 0
