"""`evalrunner report`: where it writes, what it prints, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import runner
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
from tests.support.commands import one_message
from tests.support.runs import config_for, questions, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.commands import Finished

    Here = Callable[..., Finished]


def make_run(simulator: Simulator, tmp_path: Path) -> Path:
    runner.run(config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(5))), run_dir=tmp_path / "run")
    return tmp_path / "run"


def test_it_is_written_into_the_run_folder(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    run_dir = make_run(simulator, tmp_path)
    finished = here("report", run_dir)
    assert finished.code == 0
    assert finished.out.startswith(f"{run_dir}/report.html  ")
    assert "all 5 rows" in finished.out
    assert (run_dir / "report.html").read_text().startswith("<!doctype html>")
    assert (run_dir / "report.html").stat().st_mode & 0o777 == 0o600


def test_it_goes_where_it_is_told_and_takes_no_lock(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    run_dir = make_run(simulator, tmp_path)
    with hold_lock(RunFolder(run_dir)):
        finished = here("report", run_dir, "-o", tmp_path / "page.html", "--json")
    size = (tmp_path / "page.html").stat().st_size
    made = {"path": str(tmp_path / "page.html"), "bytes": size, "rows": 5, "rows_shown": 5}
    assert finished.json == made | {"compared_with": None, "verdict": None}
    assert not (run_dir / "report.html").exists()


def test_it_compares_with_a_base(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    run_dir = make_run(simulator, tmp_path)
    finished = here("report", run_dir, "--baseline", run_dir)
    assert finished.code == 0
    assert finished.out.endswith(f", all 5 rows; inconclusive, compared with {run_dir}\n")
    absent = here("report", run_dir, "--baseline", tmp_path)
    assert absent.code == 2
    assert "not a run folder" in one_message(absent)


def test_what_it_refuses(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    absent = here("report", tmp_path)
    assert absent.code == 2
    assert "not a run folder" in one_message(absent)
    run_dir = make_run(simulator, tmp_path)
    nowhere = here("report", run_dir, "-o", tmp_path / "no" / "page.html")
    assert nowhere.code == 73
    assert "no such folder" in one_message(nowhere)
