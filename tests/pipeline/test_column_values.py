"""Owns what dataset values become in their columns, and hosts that no server has, in whole runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from tests.support.runs import by_sample, config_for, questions, run_again, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator


def run_with(simulator: Simulator, folder: Path, values: list[Any], **dataset: Any) -> list[dict[str, Any]]:
    """Run rows that have these values in column `x`; return their rows in order."""
    rows = [{**row, "x": value} for row, value in zip(questions(len(values)), values, strict=True)]
    path = folder / "data.jsonl"
    path.write_bytes(b"".join(_line(row) for row in rows))
    summary, _ = run_again(config_for(simulator, path, dataset=dataset), folder / "run", simulator)
    assert summary.ok == len(rows)
    found = by_sample(folder / "run")
    return [found[row["id"]] for row in rows]


def _line(row: dict[str, Any]) -> bytes:
    import json  # noqa: PLC0415 - it writes integers of any size

    return json.dumps(row).encode() + b"\n"


@pytest.mark.parametrize(
    "values",
    [[1, -5, None], [0.5, 2, None], [True, False, None], ["a", "", None], ["2026-11-22", "x", None]],
)
def test_values_of_one_type_keep_it(simulator: Simulator, tmp_path: Path, values: list[Any]) -> None:
    assert [row["in_x"] for row in run_with(simulator, tmp_path, values)] == values


@pytest.mark.parametrize("values", [[1, "1", True, None, [1], {"a": None}], ["text", {"a": 1}], [[1, 2], [], None]])
def test_mixed_and_nested_values_are_json_text_that_tells_them_apart(
    simulator: Simulator, tmp_path: Path, values: list[Any]
) -> None:
    found = [row["in_x"] for row in run_with(simulator, tmp_path, values)]
    assert [None if text is None else orjson.loads(text) for text in found] == values


def test_an_integer_beyond_int64_is_null_with_a_note(simulator: Simulator, tmp_path: Path) -> None:
    rows = run_with(simulator, tmp_path, [1, 2**63, 10**30])
    assert [row["in_x"] for row in rows] == [1, None, None]
    assert [row["parse_note"] for row in rows] == [None, "in_x: integer beyond int64", "in_x: integer beyond int64"]


def test_broken_code_points_are_replaced(simulator: Simulator, tmp_path: Path) -> None:
    (row,) = run_with(simulator, tmp_path, ["half \ud83d"])
    assert row["in_x"] == "half \ufffd"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b.invalid", f"{'x' * 64}.invalid"])
def test_a_host_that_does_not_exist_ends_the_run_resumable(simulator: Simulator, tmp_path: Path, host: str) -> None:
    path = write_rows(tmp_path / "data.jsonl", questions(3))
    config = config_for(simulator, path, model={"base_url": f"http://{host}/v1"})
    try:
        summary = runner.run(config, run_dir=tmp_path / "run")
    except runner.RunnerError as error:
        assert error.exit_code == 2  # noqa: PT017 - a config that is refused is as good
        return
    assert (summary.exit_code, summary.status) == (6, "incomplete")
