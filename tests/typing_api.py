"""Owns the public interface as a user's type checker sees it: `mypy --strict` has nothing to say about this file.

It is checked, never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

import runner

if TYPE_CHECKING:
    import pandas as pd


def scripts() -> None:
    """Use `run` and `load` as a script does."""
    summary = runner.run("configs/quickstart.yaml")
    assert_type(summary, runner.RunSummary)
    assert_type(summary.exit_code, int)
    assert_type(summary.cost_usd, float | None)
    assert_type(summary.by_status, dict[str, int])
    assert_type(summary.latency_s, dict[str, float | None])
    assert_type(summary.warnings, list[str])
    assert_type(summary.scores, dict[str, Any])
    assert_type(summary.to_json(), dict[str, Any])
    frame = runner.load(summary.run_dir)
    frame = runner.load(Path(summary.run_dir), columns=["key", "text"])
    frame = runner.load([summary.run_dir, Path("outputs/other")], where=pc.field("status") == "failed")
    frame = runner.load(summary.run_dir, where=[("status", "==", "failed"), ("attempts", ">", 1)])
    dataset = runner.scan([summary.run_dir], "scores")
    dataset.count_rows()
    rows: pd.DataFrame = frame
    rows.head()
    ids, matrix = runner.load_embeddings(summary.run_dir)
    assert_type(ids, list[str])
    assert_type(matrix, npt.NDArray[np.float32])


def configs_in_python() -> None:
    """Give the config as values, override a key, name the folder."""
    config = {
        "name": "demo",
        "dataset": {"path": "data.jsonl"},
        "model": {"base_url": "http://127.0.0.1:8000/v1", "name": "m"},
        "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
    }
    runner.run(config)
    runner.run(Path("run.yaml"), overrides=["dataset.limit=3"], run_dir="outputs/demo/one")
    runner.run(config, overrides=("limits.max_in_flight=2",), run_dir=Path("outputs/demo/two"))


async def inside_a_loop() -> runner.RunSummary:
    """Await a run."""
    return await runner.arun({"name": "demo"}, overrides=(), run_dir=None)


def errors() -> int:
    """Catch whatever prevents a run."""
    try:
        runner.run("missing.yaml")
    except runner.RunnerError as error:
        assert_type(error.message, str)
        assert_type(error.hint, str)
        assert_type(error.code, str)
        return error.exit_code
    return 0
