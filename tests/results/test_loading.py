from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pandas as pd
import pytest

import runner
from runner.errors import RunFolderError
from runner.simulate import FaultRules
from tests.support.runs import config_for, questions, table, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator

SAMPLES = 6


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "data.jsonl", questions(SAMPLES))


def run_in(simulator: Simulator, dataset: Path, **sections: object) -> Path:
    run_dir = dataset.parent / "run"
    runner.run(config_for(simulator, dataset, **sections), run_dir=run_dir)
    return run_dir


def test_all_columns_come_by_default_and_none_of_raw(simulator: Simulator, dataset: Path) -> None:
    run_dir = run_in(simulator, dataset)
    frame = runner.load(run_dir)
    assert len(frame) == SAMPLES
    assert list(frame.columns)[:3] == ["key", "sample_id", "repeat"]
    assert {"in_question", "in_level", "target"} <= set(frame.columns)
    assert not {"request", "response", "meta"} & set(frame.columns)
    assert all(isinstance(kind, pd.ArrowDtype) for kind in frame.dtypes)
    assert sorted(frame["sample_id"]) == [f"q{number}" for number in range(SAMPLES)]


def test_chosen_columns_come_in_the_order_asked_for(simulator: Simulator, dataset: Path) -> None:
    run_dir = run_in(simulator, dataset)
    assert list(runner.load(str(run_dir), columns=["text", "key", "in_level"]).columns) == ["text", "key", "in_level"]
    assert runner.load(run_dir, columns=("status",))["status"].tolist() == ["ok"] * SAMPLES


def test_bodies_come_when_they_are_named(simulator: Simulator, dataset: Path) -> None:
    run_dir = run_in(simulator, dataset)
    frame = runner.load(run_dir, columns=["response", "text", "request", "in_question"])
    assert list(frame.columns) == ["response", "text", "request", "in_question"]
    assert all(isinstance(kind, pd.ArrowDtype) for kind in frame.dtypes)
    for row in frame.itertuples():
        assert orjson.loads(row.response)["choices"][0]["message"]["content"] == row.text
        assert orjson.loads(row.request)["messages"][0]["content"] == row.in_question
    assert list(runner.load(run_dir, columns=["request"]).columns) == ["request"]


def test_the_choices_of_a_request_share_its_bodies(simulator: Simulator, dataset: Path) -> None:
    run_dir = run_in(simulator, dataset, request={"params": {"n": 3, "temperature": 1}})
    frame = runner.load(run_dir, columns=["key", "choice", "text", "response"])
    assert len(frame) == 3 * SAMPLES
    for row in frame.itertuples():
        assert orjson.loads(row.response)["choices"][row.choice]["message"]["content"] == row.text


def test_bodies_are_joined_once_for_each_row_also_after_a_retracted_failure(
    simulator: Simulator, dataset: Path
) -> None:
    rows = questions(SAMPLES)
    for number in (1, 4):
        rows[number]["question"] += " [[fault:500*3]]"
    write_rows(dataset, rows)
    run_in(simulator, dataset)
    run_dir = run_in(simulator, dataset)
    assert len(table(run_dir, "raw")) == SAMPLES + 2, "the failures' bodies are kept"
    frame = runner.load(run_dir, columns=["key", "choice", "status", "text", "response"])
    assert len(frame) == len(frame.drop_duplicates(["key", "choice"])) == SAMPLES
    assert set(frame["status"]) == {"ok"}
    for row in frame.itertuples():
        assert orjson.loads(row.response)["choices"][0]["message"]["content"] == row.text


def test_an_edit_taken_back_has_the_bodies_of_the_last_answer(simulator: Simulator, dataset: Path) -> None:
    run_in(simulator, dataset)
    rows = questions(SAMPLES)
    rows[2]["question"] = "changed"
    write_rows(dataset, rows)
    run_in(simulator, dataset)
    write_rows(dataset, questions(SAMPLES))
    run_dir = run_in(simulator, dataset)
    frame = runner.load(run_dir, columns=["response_id", "response"])
    assert len(frame) == SAMPLES
    assert [orjson.loads(row.response)["id"] for row in frame.itertuples()] == frame["response_id"].tolist()


def test_without_kept_bodies_they_are_null_and_of_the_same_dtype(simulator: Simulator, dataset: Path) -> None:
    run_dir = run_in(simulator, dataset, output={"keep_raw": False})
    frame = runner.load(run_dir, columns=["key", "request", "response"])
    assert len(frame) == SAMPLES
    assert frame["response"].isna().all()
    assert {str(frame[name].dtype) for name in ("request", "response")} == {"large_binary[pyarrow]"}


def test_a_run_without_any_answer_loads(simulator: Simulator, dataset: Path) -> None:
    simulator.change(replace(QUICK, faults=FaultRules(script={1: "401"})))
    run_dir = run_in(simulator, dataset, limits={"max_in_flight": 1})
    assert len(runner.load(run_dir)) == 0
    frame = runner.load(run_dir, columns=["key", "response"])
    assert (len(frame), list(frame.columns)) == (0, ["key", "response"])


def test_what_is_no_run_and_what_is_no_column_is_said(simulator: Simulator, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run to load"):
        runner.load(tmp_path / "nowhere")
    run_dir = run_in(simulator, dataset)
    with pytest.raises(RunFolderError, match="no column txt, in_nothing") as caught:
        runner.load(run_dir, columns=["key", "txt", "in_nothing", "request"])
    assert "in_<column>" in caught.value.hint
