"""Whole runs under a budget, each held to the server's own ledger: the caps are never exceeded, and used up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import runner
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.simulate import AnswerStyle, FaultRules, Fixed, LanguageModel, Latency
from tests.support.runs import check_books, config_for, questions, run_again, sent_by, table, write_rows
from tests.support.serving import QUICK, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner import RunSummary
    from runner.simulate import Simulator

PRICE = {"input_per_million": 1000.0, "output_per_million": 4000.0}
STOPPED, INCOMPLETE = 5, 6
# Answers whose length varies and is mostly far below what requests allow.
VARIED = replace(QUICK, answers=AnswerStyle(median_tokens=12, sigma=0.8))
LONGEST = 60
# What it takes to learn the form of log-likelihoods is not counted.
PROBE_TOKENS = 40


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serving(VARIED) as simulator:
        yield simulator


def rows_of(count: int) -> list[dict[str, Any]]:
    """Return questions of different lengths."""
    return [
        {**row, "question": row["question"] + " why?" * (number % 40)} for number, row in enumerate(questions(count))
    ]


def budgeted(simulator: Simulator, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> dict[str, Any]:
    params = {"temperature": 0, "max_completion_tokens": LONGEST, **sections.pop("params", {})}
    dataset = write_rows(folder / "data.jsonl", rows)
    config = config_for(simulator, dataset, model={"price": PRICE}, limits={"max_in_flight": 64}, **sections)
    config["request"]["params"] = params
    return config


def billed(simulator: Simulator) -> tuple[int, float]:
    """Return what the server's ledger says it delivered: tokens, and what they cost."""
    served = simulator.statistics()
    cost = (served.prompt_tokens * 1000.0 + served.completion_tokens * 4000.0) / 1e6
    return served.prompt_tokens + served.completion_tokens, cost


def done(summary: RunSummary) -> int:
    """Return how many rows ended, some of them cut off at the longest answer."""
    return sum(summary.by_status.values())


def charged(summary: RunSummary) -> int:
    """Return the tokens that are charged beside the usage of answers."""
    return read_commits(RunFolder(Path(summary.run_dir))).totals.charged_tokens


# The most that a request of these rows may take: its bytes, and the longest answer.
MOST_TOKENS = 420 + LONGEST
MOST_USD = (420 * 1000.0 + LONGEST * 4000.0) / 1e6


def test_a_token_cap_holds_and_is_used_up(simulator: Simulator, tmp_path: Path) -> None:
    cap = 9_000
    simulator.change(replace(VARIED, latency=Latency(Fixed(0.01))))
    config = budgeted(simulator, tmp_path, rows_of(400), budget={"max_tokens": cap})
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    tokens, _ = billed(simulator)
    assert cap - MOST_TOKENS < tokens <= cap
    assert simulator.statistics().max_in_flight > 8
    assert (summary.exit_code, summary.status) == (STOPPED, "stopped")
    assert 0 < done(summary) < 400
    assert any(f"the budget of {cap:,} tokens is used up" in warning for warning in summary.warnings)
    assert any("--set budget.max_tokens=N" in warning for warning in summary.warnings)


def test_a_cost_cap_holds_and_is_used_up(simulator: Simulator, tmp_path: Path) -> None:
    cap = 15.0
    config = budgeted(simulator, tmp_path, rows_of(400), budget={"max_cost_usd": cap})
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    _, cost = billed(simulator)
    assert cap - MOST_USD < cost <= cap
    assert summary.cost_usd == pytest.approx(cost)
    assert (summary.exit_code, summary.status) == (STOPPED, "stopped")
    assert any("--max-cost USD" in warning for warning in summary.warnings)


def test_caps_cover_all_sessions_and_a_larger_budget_goes_on(simulator: Simulator, tmp_path: Path) -> None:
    rows, run_dir = rows_of(120), tmp_path / "run"
    first, _ = run_again(budgeted(simulator, tmp_path, rows, budget={"max_tokens": 3_000}), run_dir, simulator)
    same, sent = run_again(budgeted(simulator, tmp_path, rows, budget={"max_tokens": 3_000}), run_dir, simulator)
    assert (first.exit_code, same.exit_code, sent, done(same)) == (STOPPED, STOPPED, 0, done(first))
    more, sent = run_again(budgeted(simulator, tmp_path, rows, budget={"max_tokens": 5_000}), run_dir, simulator)
    assert 5_000 - MOST_TOKENS < billed(simulator)[0] <= 5_000
    assert (more.exit_code, done(more)) == (STOPPED, done(first) + sent)
    ended, _ = run_again(budgeted(simulator, tmp_path, rows, budget={"max_tokens": 100_000}), run_dir, simulator)
    assert (ended.exit_code, done(ended)) == (0, 120)


def test_a_budget_that_is_large_enough_changes_nothing(simulator: Simulator, tmp_path: Path) -> None:
    config = budgeted(simulator, tmp_path, rows_of(80), budget={"max_tokens": 10**6, "max_cost_usd": 1e3})
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    assert (summary.exit_code, done(summary), charged(summary), summary.warnings) == (0, 80, 0, [])


def test_the_caps_hold_where_answers_may_be_of_any_length(simulator: Simulator, tmp_path: Path) -> None:
    simulator.change(replace(QUICK, answers=AnswerStyle(completion_tokens=30)))
    cap = 6_000
    config = budgeted(simulator, tmp_path, rows_of(300), budget={"max_tokens": cap})
    del config["request"]["params"]["max_completion_tokens"]
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    assert cap - MOST_TOKENS < billed(simulator)[0] <= cap
    assert summary.exit_code == STOPPED


@pytest.mark.parametrize("n", [1, 3])
def test_every_choice_counts(simulator: Simulator, tmp_path: Path, n: int) -> None:
    cap = 8_000
    config = budgeted(simulator, tmp_path, rows_of(300), params={"n": n}, budget={"max_tokens": cap})
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    assert cap - MOST_TOKENS - (n - 1) * LONGEST < billed(simulator)[0] <= cap


def test_an_answer_without_usage_is_charged_as_much_as_it_may_have_taken(simulator: Simulator, tmp_path: Path) -> None:
    simulator.change(replace(VARIED, faults=FaultRules(fractions={"missing_usage": 1.0})))
    cap = 20_000
    config = budgeted(simulator, tmp_path, rows_of(200), budget={"max_tokens": cap})
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.total_tokens) == (STOPPED, 0)
    assert cap - MOST_TOKENS < charged(summary) <= cap
    assert done(summary) >= cap // MOST_TOKENS
    again = runner.run(config, run_dir=tmp_path / "run")
    assert (again.exit_code, done(again)) == (STOPPED, done(summary))


def test_what_timed_out_may_have_been_billed(simulator: Simulator, tmp_path: Path) -> None:
    rows = rows_of(4)
    rows[1]["question"] += " [[fault:hang]]"
    config = budgeted(simulator, tmp_path, rows, budget={"max_tokens": 10**6})
    config["request"]["timeout_s"] = {"connect": 5, "total": 0.5}
    config["retry"] |= {"max_timeouts": 1}
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (done(summary), summary.failed) == (4, 1)
    (row,) = (row for row in table(summary.run_dir) if row["error_kind"] == "request_timeout")
    assert row["attempts"] == 2
    # Its bytes and the longest answer, twice.
    assert 2 * LONGEST < charged(summary) <= 2 * MOST_TOKENS
    assert any("no answer's usage states" in warning for warning in summary.warnings)


def test_what_was_refused_was_not_billed(simulator: Simulator, tmp_path: Path) -> None:
    script = {20: "429", 40: "503", 60: "400"}
    simulator.change(replace(VARIED, faults=FaultRules(fractions={"500": 0.2}, script=script)))
    cap = 6_000
    config = budgeted(simulator, tmp_path, rows_of(300), budget={"max_tokens": cap})
    config["retry"]["max_attempts"] = 8
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    assert summary.retries > 0
    assert charged(summary) == 0
    assert cap - MOST_TOKENS < billed(simulator)[0] <= cap


def test_broken_connections_keep_their_reserve(simulator: Simulator, tmp_path: Path) -> None:
    simulator.change(replace(VARIED, faults=FaultRules(fractions={"cut": 0.2})))
    cap = 9_000
    config = budgeted(simulator, tmp_path, rows_of(300), budget={"max_tokens": cap})
    config["retry"]["max_attempts"] = 8
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert summary.exit_code == STOPPED
    assert charged(summary) > 0
    assert cap - MOST_TOKENS < summary.total_tokens + charged(summary) <= cap


def test_packs_that_are_too_large_for_what_is_left_go_in_halves(simulator: Simulator, tmp_path: Path) -> None:
    cap = 2_000
    rows = rows_of(300)
    config = config_for(simulator, write_rows(tmp_path / "data.jsonl", rows), budget={"max_tokens": cap})
    config["request"] = {"endpoint": "embeddings", "input": "{{ question }}", "timeout_s": {"total": 20}}
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    assert (summary.exit_code, summary.status) == (STOPPED, "stopped")
    assert cap - 230 < billed(simulator)[0] <= cap  # the longest text has some 215 bytes
    config["budget"] = {}
    ended, _ = run_again(config, tmp_path / "run", simulator)
    assert (ended.exit_code, done(ended)) == (0, 300)


def test_completions_packs_count_their_answers(simulator: Simulator, tmp_path: Path) -> None:
    cap = 5_000
    config = config_for(simulator, write_rows(tmp_path / "data.jsonl", rows_of(200)), budget={"max_tokens": cap})
    config["request"] = {
        "endpoint": "completions",
        "prompt": "{{ question }}",
        "params": {"max_tokens": 20},
        "batch_size": 8,
        "timeout_s": {"total": 20},
    }
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    assert summary.exit_code == STOPPED
    assert cap - 250 < billed(simulator)[0] <= cap


@pytest.mark.parametrize(("cap", "code"), [(10**6, 0), (2_000, STOPPED)])
def test_continuations_that_are_not_bought_again_are_charged_once(tmp_path: Path, cap: int, code: int) -> None:
    rows = [{"id": f"s{n}", "context": f"the answer to {n} is", "choices": [" A", " B", " C", " D"]} for n in range(60)]
    faults = FaultRules(fractions={"500": 0.3})
    with serving(replace(QUICK, language_model=LanguageModel(arrays=False), faults=faults)) as simulator:
        config = config_for(simulator, write_rows(tmp_path / "data.jsonl", rows), budget={"max_tokens": cap})
        config["dataset"]["target"] = None
        config["request"] = {"endpoint": "loglikelihood", "context": "{{ context }}", "continuations": "{{ choices }}"}
        config["retry"]["max_attempts"] = 50
        summary = runner.run(config, run_dir=tmp_path / "run")
        tokens, _ = billed(simulator)
    assert (summary.exit_code, summary.failed) == (code, 0)
    assert summary.retries > 0
    assert tokens - PROBE_TOKENS <= summary.total_tokens + charged(summary) <= cap
    if code == 0:  # what was charged for parts was given back when the whole was counted
        assert charged(summary) == 0


@pytest.mark.parametrize("cap", [{"max_tokens": 50}, {"max_cost_usd": 0.01}])
def test_a_budget_below_the_first_request_sends_nothing(simulator: Simulator, tmp_path: Path, cap: Any) -> None:
    summary = runner.run(budgeted(simulator, tmp_path, rows_of(5), budget=cap), run_dir=tmp_path / "run")
    assert (summary.exit_code, sent_by(simulator)) == (STOPPED, 0)


def test_a_cost_cap_without_a_price_is_refused(simulator: Simulator, tmp_path: Path) -> None:
    config = budgeted(simulator, tmp_path, rows_of(5), budget={"max_cost_usd": 1.0})
    del config["model"]["price"]
    with pytest.raises(runner.RunnerError, match="no price is known for the model m") as caught:
        runner.run(config, run_dir=tmp_path / "run")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "run").exists()
    assert sent_by(simulator) == 0


def test_at_the_end_of_its_time_a_session_stops_and_another_goes_on(simulator: Simulator, tmp_path: Path) -> None:
    simulator.change(replace(VARIED, latency=Latency(Fixed(0.05))))
    config = budgeted(simulator, tmp_path, rows_of(100), budget={"max_wall_s": 0.3})
    config["limits"] = {"max_in_flight": 2}
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)  # answers under way came in
    assert (summary.exit_code, summary.status) == (INCOMPLETE, "incomplete")
    assert 0 < done(summary) < 100
    assert any("0.3 s of wall-clock time are over" in warning for warning in summary.warnings)
    simulator.change(VARIED)
    config["budget"]["max_wall_s"] = 60
    ended, _ = run_again(config, tmp_path / "run", simulator)
    assert (ended.exit_code, done(ended)) == (0, 100)


def test_longer_answers_that_are_asked_for_count_too(simulator: Simulator, tmp_path: Path) -> None:
    cap = 9_000
    again: dict[str, Any] = {"on_truncated": "retry", "max_tokens_cap": LONGEST}
    config = budgeted(
        simulator, tmp_path, rows_of(300), params={"max_completion_tokens": 6}, budget={"max_tokens": cap}
    )
    config["request"] |= again
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    assert (summary.exit_code, charged(summary)) == (STOPPED, 0)
    assert summary.superseded > 0
    assert cap - MOST_TOKENS < billed(simulator)[0] <= cap
    config["budget"] = {"max_tokens": 10**6}
    ended, _ = run_again(config, tmp_path / "run", simulator)
    check_books(ended, simulator)
    assert (ended.exit_code, done(ended), charged(ended)) == (0, 300, 0)


def test_rows_that_always_fail_give_back_what_was_reserved_for_them(simulator: Simulator, tmp_path: Path) -> None:
    rows = rows_of(120)
    for row in rows[::5]:
        row["question"] += " [[fault:500]]"
    cap = 40 * MOST_TOKENS  # less than the failed attempts alone were reserved
    config = budgeted(simulator, tmp_path, rows, budget={"max_tokens": cap})
    config["retry"]["max_attempts"] = 8
    summary = runner.run(config, run_dir=tmp_path / "run")
    check_books(summary, simulator)
    assert (summary.exit_code, done(summary), summary.failed, charged(summary)) == (3, 120, 24, 0)
    assert {row["attempts"] for row in table(summary.run_dir) if row["status"] == "failed"} == {3}


def test_one_budget_holds_for_all_servers_of_a_pool(simulator: Simulator, tmp_path: Path) -> None:
    cap = 9_000
    with serving(VARIED) as other:
        config = budgeted(simulator, tmp_path, rows_of(400), budget={"max_tokens": cap})
        config["model"]["base_url"] = [{"url": simulator.base_url}, {"url": other.base_url}]
        summary = runner.run(config, run_dir=tmp_path / "run")
        both = billed(simulator)[0], billed(other)[0]
    assert summary.exit_code == STOPPED
    assert min(both) > 0
    assert cap - MOST_TOKENS < sum(both) <= cap
