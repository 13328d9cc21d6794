from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import runner
from runner.simulate import FaultRules
from tests.support.runs import config_for, questions, write_rows
from tests.support.serving import QUICK, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.simulate import Simulator

KINDS = ("empty", "failed", "mixed")


def prepare(simulator: Simulator, folder: Path, kind: str) -> Path:
    """Make a run that is empty (its key is refused at once), or whose rows all failed, or some of them."""
    folder.mkdir()
    simulator.change(replace(QUICK, faults=FaultRules(script={1: "401"} if kind == "empty" else {})))
    rows = questions(4)
    for row in rows if kind == "failed" else rows[:2]:
        row["question"] += " [[fault:400]]"
    dataset = write_rows(folder / "data.jsonl", rows)
    params = {"logprobs": True, "top_logprobs": 2}
    config = config_for(simulator, dataset, request={"params": params}, limits={"max_in_flight": 1})
    summary = runner.run(config, run_dir=folder / "run")
    by_status = {"empty": {}, "failed": {"failed": 4}, "mixed": {"failed": 2, "ok": 2}}[kind]
    assert summary.by_status == by_status
    return folder / "run"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("dtypes")
    made = {}
    for kind in KINDS:
        with serving() as simulator:
            made[kind] = prepare(simulator, root / kind, kind)
    return made


def by_pandas(run: Path) -> list[tuple[str, str]]:
    frame = pd.read_parquet(run / "responses", dtype_backend="pyarrow")
    return [(name, str(kind)) for name, kind in frame.dtypes.items()]


def by_load(run: Path) -> list[tuple[str, str]]:
    return [(name, str(kind)) for name, kind in runner.load(run).dtypes.items()]


def by_polars(run: Path) -> list[tuple[str, str]]:
    return [(name, str(kind)) for name, kind in pl.read_parquet(run / "responses").schema.items()]


def by_duckdb(run: Path) -> list[tuple[str, str]]:
    with duckdb.connect() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM '{run}/responses/*.parquet'").fetchall()  # noqa: S608 - our own path
    return [(row[0], row[1]) for row in described]


@pytest.mark.parametrize("read", [by_pandas, by_load, by_polars, by_duckdb])
def test_dtypes_are_the_same_for_an_empty_a_failed_and_a_mixed_run(
    runs: dict[str, Path], read: Callable[[Path], list[tuple[str, str]]]
) -> None:
    empty, failed, mixed = (read(runs[kind]) for kind in KINDS)
    assert empty == failed == mixed
    assert len(empty) > 40
    assert dict(empty).keys() >= {"key", "in_level", "top_logprobs"}


@pytest.mark.parametrize("table", ["responses", "attempts", "raw"])
def test_every_part_of_a_table_has_one_schema(runs: dict[str, Path], table: str) -> None:
    schemas = [pq.read_schema(part) for run in runs.values() for part in sorted((run / table).glob("*.parquet"))]
    assert len(schemas) >= 5
    assert all(schema.equals(schemas[0], check_metadata=False) for schema in schemas)
    assert all(b"evalrunner.schema_version" in schema.metadata for schema in schemas)


@pytest.mark.parametrize("kind", KINDS)
def test_all_readers_see_the_same_rows(runs: dict[str, Path], kind: str) -> None:
    run = runs[kind]
    keys = sorted(pd.read_parquet(run / "responses")["key"])
    assert len(keys) == {"empty": 0, "failed": 4, "mixed": 4}[kind]
    assert sorted(runner.load(run)["key"]) == sorted(pl.read_parquet(run / "responses")["key"].to_list()) == keys
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT key FROM '{run}/responses/*.parquet' ORDER BY key").fetchall()  # noqa: S608 - our own path
    assert [row[0] for row in found] == keys
