"""The recipes of docs/loading.md, run as they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import runner
from tests.support.commands import ROOT
from tests.support.runs import config_for, questions, write_rows
from tests.support.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

RECIPES = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs/loading.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root: Path = tmp_path_factory.mktemp("runs")
    with serving() as simulator:
        config = config_for(simulator, write_rows(root / "d.jsonl", questions(4)), scorers=[{"name": "includes"}])
        for name in ("a", "b"):
            runner.run(config, run_dir=root / name)
    return str(root / "a"), str(root / "b")


def test_the_page_has_recipes_for_all_three() -> None:
    assert len(RECIPES) == 5
    assert all(any(f"import {name}" in recipe for recipe in RECIPES) for name in ("polars", "duckdb", "pyarrow"))


@pytest.mark.parametrize("number", range(5))
def test_a_recipe_runs(runs: tuple[str, str], number: int) -> None:
    recipe = compile(RECIPES[number], f"recipe {number}", "exec")
    exec(recipe, {"run": runs[0], "other": runs[1]})  # noqa: S102 - our own page
