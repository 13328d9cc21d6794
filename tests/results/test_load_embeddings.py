"""Loading vectors: which rows, in which order, at any moment of a run, and what is left out."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import runner
from runner.errors import RunFolderError
from runner.folder.layout import RunFolder
from runner.simulate import vector_of
from tests.support.runs import config_for, questions, table, write_rows
from tests.support.serving import serving

if TYPE_CHECKING:
    from pathlib import Path


def run(tmp_path: Path, rows: list[dict[str, Any]], **request: Any) -> Path:
    with serving() as simulator:
        config = config_for(simulator, write_rows(tmp_path / "data.jsonl", rows))
        config["request"] = {"endpoint": "embeddings", "input": "{{ question }}", "batch_size": 7, **request}
        runner.run(config, run_dir=tmp_path / "run")
    return tmp_path / "run"


def test_vectors_come_as_one_matrix_in_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = questions(50)
    run_dir = run(tmp_path, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ids, matrix = runner.load_embeddings(str(run_dir))
    assert (matrix.dtype, matrix.shape, type(ids)) == (np.float32, (50, 32), list)
    assert ids == [row["sample_id"] for row in table(run_dir)]
    texts = {row["id"]: row["question"] for row in rows}
    np.testing.assert_array_equal(matrix, np.stack([vector_of(texts[sample], 32) for sample in ids]))


def test_repeats_and_several_inputs_stand_in_rows_of_their_own(tmp_path: Path) -> None:
    run_dir = run(tmp_path, questions(3), input=["{{ question }}", "{{ answer }}"], repeats=2)
    ids, matrix = runner.load_embeddings(run_dir)
    assert sorted(ids) == sorted(["q0", "q1", "q2"] * 4)
    for place in range(0, 12, 2):
        assert ids[place] == ids[place + 1]
        assert (matrix[place] != matrix[place + 1]).any()


def test_rows_without_a_vector_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = questions(20)
    rows[3]["question"] += " [[fault:400]]"
    rows[11]["question"] += " [[fault:missing_index]]"
    run_dir = run(tmp_path, rows)
    with pytest.warns(UserWarning, match="2 rows have no vector and are left out"):
        ids, matrix = runner.load_embeddings(run_dir)
    assert (len(ids), len(matrix)) == (18, 18)
    assert not {"q3", "q11"} & set(ids)


def test_a_run_without_any_vector(tmp_path: Path) -> None:
    with serving() as simulator:
        config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(2)))
        runner.run(config, run_dir=tmp_path / "chat")
    with pytest.warns(UserWarning, match="2 rows"):
        ids, matrix = runner.load_embeddings(tmp_path / "chat")
    assert (ids, matrix.shape, matrix.dtype) == ([], (0, 0), np.float32)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run to load"):
        runner.load_embeddings(tmp_path)


def test_a_frame_holds_vectors_too(tmp_path: Path) -> None:
    run_dir = run(tmp_path, questions(5))
    frame = runner.load(run_dir, columns=["sample_id", "embedding"])
    assert str(frame["embedding"].dtype) == "list<element: float>[pyarrow]"
    assert {len(vector) for vector in frame["embedding"]} == {32}
    assert RunFolder(run_dir).manifest.exists()
