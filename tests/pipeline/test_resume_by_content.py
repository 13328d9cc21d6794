from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.config import config_from_dict
from runner.errors import BusyError, RunFolderError, UsageError
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
from runner.pipeline import execute
from runner.pipeline.locate import Where
from runner.pipeline.opening import RunOptions
from runner.simulate import FaultRules
from tests.support.runs import by_sample, check_books, config_for, questions, run_again, sent_by, table, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator

SAMPLES = 20


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "data.jsonl", questions(SAMPLES))


def finished(simulator: Simulator, dataset: Path, /, **sections: Any) -> tuple[dict[str, Any], Path]:
    """Complete a run in `dataset`'s folder; return its config and its folder."""
    config, run_dir = config_for(simulator, dataset, **sections), dataset.parent / "run"
    summary, sent = run_again(config, run_dir, simulator)
    assert (summary.status, summary.exit_code, sent) == ("complete", 0, summary.requests)
    return config, run_dir


def test_the_same_command_on_a_complete_run_sends_nothing(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = finished(simulator, dataset)
    before = table(run_dir)
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded, summary.status) == (0, SAMPLES, 0, "complete")
    assert table(run_dir) == before


def test_every_input_row_ends_in_responses_with_its_target_and_columns(simulator: Simulator, dataset: Path) -> None:
    _, run_dir = finished(simulator, dataset)
    rows = by_sample(run_dir)
    assert {(row["sample_id"], row["target"], row["in_question"], row["in_level"]) for row in rows.values()} == {
        (row["id"], row["answer"], row["question"], row["level"]) for row in questions(SAMPLES)
    }
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_a_reordered_dataset_sends_nothing(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = finished(simulator, dataset)
    write_rows(dataset, reversed(questions(SAMPLES)))
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (0, SAMPLES, 0)


def test_ten_appended_rows_send_ten_requests(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = finished(simulator, dataset)
    write_rows(dataset, questions(SAMPLES + 10))
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.samples, summary.superseded) == (10, SAMPLES + 10, SAMPLES + 10, 0)


def test_one_edited_prompt_sends_one_request_and_its_old_row_goes_to_superseded(
    simulator: Simulator, dataset: Path
) -> None:
    config, run_dir = finished(simulator, dataset)
    old = by_sample(run_dir)["q7"]
    rows = questions(SAMPLES)
    rows[7]["question"] = "What is seven?"
    write_rows(dataset, rows)
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (1, SAMPLES, 1)
    assert by_sample(run_dir)["q7"]["in_question"] == "What is seven?"
    (gone,) = table(run_dir, "superseded")
    assert gone == old


def test_an_edit_taken_back_sends_the_row_once_more_and_no_other(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = finished(simulator, dataset)
    rows = questions(SAMPLES)
    rows[7]["question"] = "What is seven?"
    write_rows(dataset, rows)
    run_again(config, run_dir, simulator)
    write_rows(dataset, questions(SAMPLES))
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (1, SAMPLES, 2)
    assert by_sample(run_dir)["q7"]["in_question"] == "What is 7 + 1?"


def test_a_corrected_target_sends_nothing_and_the_row_has_the_new_one(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = finished(simulator, dataset)
    before = by_sample(run_dir)
    rows = questions(SAMPLES)
    rows[3] |= {"answer": "four", "level": 99}
    write_rows(dataset, rows)
    summary, sent = run_again(config, run_dir, simulator)
    after = by_sample(run_dir)
    assert (sent, summary.ok, summary.superseded) == (0, SAMPLES, 0)
    assert (after["q3"]["target"], after["q3"]["in_answer"], after["q3"]["in_level"]) == ("four", "four", 99)
    assert before.pop("q3")["key"] == after.pop("q3")["key"]
    assert before == after
    assert run_again(config, run_dir, simulator)[1] == 0


def test_a_target_that_is_not_kept_is_renewed_too(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = finished(simulator, dataset, dataset={"keep": ["level"]})
    rows = questions(SAMPLES)
    rows[3]["answer"] = "four"
    write_rows(dataset, rows)
    _, sent = run_again(config, run_dir, simulator)
    assert (sent, by_sample(run_dir)["q3"]["target"]) == (0, "four")
    assert [name for name in by_sample(run_dir)["q3"] if name.startswith("in_")] == ["in_level"]


def test_a_deleted_row_goes_to_superseded_and_comes_back_by_a_request(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = finished(simulator, dataset)
    rows = questions(SAMPLES)
    gone = rows.pop(5)
    write_rows(dataset, rows)
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (0, SAMPLES - 1, 1)
    assert gone["id"] not in by_sample(run_dir)
    assert [row["sample_id"] for row in table(run_dir, "superseded")] == [gone["id"]]
    write_rows(dataset, questions(SAMPLES))
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (1, SAMPLES, 1)


def test_all_at_once_append_reorder_edit_delete_and_correct(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = finished(simulator, dataset)
    rows = questions(SAMPLES + 4)
    rows[1]["question"] = "changed"
    rows[2]["answer"] = "corrected"
    del rows[0]
    write_rows(dataset, reversed(rows))
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (5, SAMPLES + 3, 2)
    found = by_sample(run_dir)
    assert {name: (row["in_question"], row["target"]) for name, row in found.items()} == {
        row["id"]: (row["question"], row["answer"]) for row in rows
    }


# ---------------------------------------------------------------- rows without ids


def without_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]


def test_without_an_id_column_content_is_the_identity(simulator: Simulator, dataset: Path) -> None:
    rows = without_ids(questions(SAMPLES))
    write_rows(dataset, rows)
    config, run_dir = finished(simulator, dataset, dataset={"id": None})
    write_rows(dataset, list(reversed(rows)))
    assert run_again(config, run_dir, simulator)[1] == 0
    write_rows(dataset, [*rows, {"question": "new", "answer": "1", "level": 0}])
    assert run_again(config, run_dir, simulator)[1] == 1
    rows[4]["answer"] = "corrected"
    write_rows(dataset, rows)
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (0, SAMPLES, 1)
    assert Counter(row["target"] for row in table(run_dir))["corrected"] == 1


def test_equal_rows_without_ids_are_told_apart_by_occurrence(simulator: Simulator, dataset: Path) -> None:
    rows = without_ids(questions(3)) * 3
    write_rows(dataset, rows)
    config, run_dir = finished(simulator, dataset, dataset={"id": None})
    found = by_sample(run_dir)
    assert len(found) == 9
    assert sum(name.endswith("-2") for name in found) == sum(name.endswith("-3") for name in found) == 3
    write_rows(dataset, rows[:-1])
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (0, 8, 1)
    write_rows(dataset, [*rows, rows[0]])
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (2, 10, 1)


# ---------------------------------------------------------------- repeats and choices


def test_three_repeats_are_three_rows_with_seeds_of_their_own(simulator: Simulator, dataset: Path) -> None:
    request = {
        "messages": [{"role": "user", "content": "{{ question }}"}],
        "params": {"seed": 40, "temperature": 1},
        "repeats": 3,
    }
    config, run_dir = finished(simulator, dataset, request=request)
    rows = table(run_dir)
    assert len(rows) == 3 * SAMPLES
    assert Counter((row["sample_id"], row["repeat"]) for row in rows) == Counter(
        {(f"q{number}", repeat): 1 for number in range(SAMPLES) for repeat in range(3)}
    )
    seeds = {row["request_key"]: orjson.loads(row["request"])["seed"] for row in table(run_dir, "raw")}
    assert all(seeds[row["request_key"]] == 40 + row["repeat"] for row in rows)
    changed = questions(SAMPLES)
    changed[2]["question"] = "changed"
    write_rows(dataset, changed)
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (3, 3 * SAMPLES, 3)


def test_three_choices_are_three_rows_and_the_first_carries_the_usage(simulator: Simulator, dataset: Path) -> None:
    request = {"messages": [{"role": "user", "content": "{{ question }}"}], "params": {"n": 3, "temperature": 1}}
    config, run_dir = finished(simulator, dataset, request=request)
    rows = table(run_dir)
    assert len(rows) == 3 * SAMPLES
    assert {row["choice"] for row in rows} == {0, 1, 2}
    assert all((row["total_tokens"] is not None) == (row["choice"] == 0) for row in rows)
    assert all((row["usage_exact"] is True) == (row["choice"] == 0) for row in rows)
    assert len({(row["key"], row["text"]) for row in rows}) == 3 * SAMPLES
    write_rows(dataset, questions(SAMPLES)[1:])
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (0, 3 * (SAMPLES - 1), 3)


def test_cost_is_summed_over_all_attempts_of_all_sessions(simulator: Simulator, dataset: Path) -> None:
    price = {"price": {"input_per_million": 2.0, "output_per_million": 10.0}}
    config, run_dir = finished(simulator, dataset, model=price)
    rows = questions(SAMPLES)
    rows[0]["question"] = "changed"
    write_rows(dataset, rows)
    summary, _ = run_again(config, run_dir, simulator)
    served = simulator.statistics()
    assert summary.cost_usd == pytest.approx((2 * served.prompt_tokens + 10 * served.completion_tokens) / 1e6)
    assert summary.cost_usd == pytest.approx(sum(row["cost_usd"] for row in table(run_dir, "attempts")))


def test_without_a_price_the_cost_is_null_and_never_zero(simulator: Simulator, dataset: Path) -> None:
    _, run_dir = finished(simulator, dataset)
    summary = runner.run(config_for(simulator, dataset), run_dir=run_dir)
    assert summary.cost_usd is None
    assert {row["cost_usd"] for row in table(run_dir)} == {None}


# ---------------------------------------------------------------- failures, sent again or not


def test_resume_sends_failures_of_a_passing_kind_again_and_terminal_ones_not(
    simulator: Simulator, dataset: Path
) -> None:
    rows = questions(SAMPLES)
    rows[1]["question"] += " [[fault:500*3]]"
    rows[2]["question"] += " [[fault:400]]"
    rows[3]["question"] += " [[fault:cut*3]]"
    write_rows(dataset, rows)
    config, run_dir = config_for(simulator, dataset), dataset.parent / "run"
    summary, sent = run_again(config, run_dir, simulator)
    assert (summary.exit_code, summary.status, summary.failed, sent) == (3, "complete", 3, SAMPLES + 4)
    kinds = {name: row["error_kind"] for name, row in by_sample(run_dir).items() if row["error_kind"]}
    assert kinds == {"q1": "server", "q2": "bad_request", "q3": "disconnect"}
    summary, sent = run_again(config, run_dir, simulator)
    assert (summary.exit_code, summary.failed, sent, summary.superseded) == (3, 1, 2, 2)
    assert {name for name, row in by_sample(run_dir).items() if row["status"] == "failed"} == {"q2"}
    assert {row["error_kind"] for row in table(run_dir, "superseded")} == {"server", "disconnect"}
    assert run_again(config, run_dir, simulator)[1] == 0


def test_a_stopped_run_goes_on_where_it_stood(simulator: Simulator, dataset: Path) -> None:
    simulator.change(
        replace(QUICK, faults=FaultRules(script={12: "401"})),
    )
    config, run_dir = config_for(simulator, dataset, limits={"max_in_flight": 1}), dataset.parent / "run"
    summary, sent = run_again(config, run_dir, simulator)
    assert (summary.exit_code, summary.status, summary.ok, sent) == (5, "stopped", 11, 12)
    assert any("HTTP 401" in warning for warning in summary.warnings)
    summary, sent = run_again(config, run_dir, simulator)
    assert (summary.exit_code, summary.ok, sent) == (0, SAMPLES, SAMPLES - 11)


def test_the_failed_gate_lets_a_fraction_pass(simulator: Simulator, dataset: Path) -> None:
    rows = questions(SAMPLES)
    rows[2]["question"] += " [[fault:400]]"
    write_rows(dataset, rows)
    config = config_for(simulator, dataset, gates={"max_failed_fraction": 0.05})
    summary, _ = run_again(config, dataset.parent / "run", simulator)
    assert (summary.exit_code, summary.failed, summary.gates[0]["passed"]) == (0, 1, True)


# ---------------------------------------------------------------- which folder


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"model": {"name": "other"}}, "model.name"),
        ({"request": {"params": {"temperature": 1}}}, "request.params"),
        ({"dataset": {"limit": 3}}, "dataset.limit"),
    ],
)
def test_a_run_dir_of_another_identity_is_refused_with_the_difference(
    simulator: Simulator, dataset: Path, sections: dict[str, Any], named: str
) -> None:
    _, run_dir = finished(simulator, dataset)
    before = sent_by(simulator)
    with pytest.raises(RunFolderError, match=named) as caught:
        runner.run(config_for(simulator, dataset, **sections), run_dir=run_dir)
    assert caught.value.exit_code == 2
    assert sent_by(simulator) == before


def test_limits_retries_and_timeouts_are_not_identity(simulator: Simulator, dataset: Path) -> None:
    _, run_dir = finished(simulator, dataset)
    config = config_for(simulator, dataset, limits={"max_in_flight": 2}, retry={"max_attempts": 9})
    config["request"]["timeout_s"] = {"total": 3}
    assert run_again(config, run_dir, simulator)[1] == 0


def test_the_newest_unfinished_run_is_continued_and_a_complete_one_is_not(simulator: Simulator, dataset: Path) -> None:
    simulator.change(replace(QUICK, faults=FaultRules(script={4: "401"})))
    config = config_for(simulator, dataset, limits={"max_in_flight": 1})
    stopped = runner.run(config)
    again = runner.run(config)
    assert (stopped.status, again.status, again.run_id) == ("stopped", "complete", stopped.run_id)
    check_books(again, simulator)
    fresh = runner.run(config)
    assert fresh.run_id != again.run_id
    assert fresh.http_requests == SAMPLES


def test_an_unfinished_run_older_than_a_day_is_left_alone(simulator: Simulator, dataset: Path) -> None:
    simulator.change(replace(QUICK, faults=FaultRules(script={4: "401"})))
    config = config_for(simulator, dataset, limits={"max_in_flight": 1})
    stopped = runner.run(config)
    manifest = RunFolder(dataset.parent / "outputs" / "test" / stopped.run_id).manifest
    content = orjson.loads(manifest.read_bytes())
    manifest.write_bytes(orjson.dumps(content | {"created_at": "2026-01-01T00:00:00+00:00"}))
    assert runner.run(config).run_id != stopped.run_id


def test_a_folder_that_is_no_run_is_refused(simulator: Simulator, dataset: Path) -> None:
    (dataset.parent / "run").mkdir()
    (dataset.parent / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunFolderError, match="not a run folder"):
        runner.run(config_for(simulator, dataset), run_dir=dataset.parent / "run")


@pytest.mark.parametrize("run_id", ["../escape", "a/b", "", ".hidden", "a" * 101, "a b", "a..b"])
def test_a_run_id_is_a_plain_name(simulator: Simulator, dataset: Path, run_id: str) -> None:
    config = config_from_dict(config_for(simulator, dataset), dataset.parent)
    with pytest.raises(UsageError):
        execute.run(config, RunOptions(Where(run_id=run_id)))


def test_a_busy_run_exits_75_naming_the_holder(simulator: Simulator, dataset: Path) -> None:
    config, run_dir = finished(simulator, dataset)
    with hold_lock(RunFolder(run_dir)), pytest.raises(BusyError, match=r"process \d+ on") as caught:
        runner.run(config, run_dir=run_dir)
    assert caught.value.exit_code == 75
