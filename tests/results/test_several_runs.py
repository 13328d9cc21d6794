"""Several runs at once, rows that are chosen, and lazy datasets of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import runner
from runner.errors import BusyError, RunFolderError, UsageError
from runner.folder.commits import Commit, CommittedFile, read_commits, staged_path
from runner.folder.layout import RunFolder
from runner.sinks import PartWriter, file_crc32, take_snapshot
from tests.support.runs import config_for, questions, write_rows
from tests.support.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

SAMPLES = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs: of the second, `level` is a text, `more` is a column that the first does not have, and a row failed."""
    root = tmp_path_factory.mktemp("runs") / "outputs"
    with serving() as simulator:
        rows = questions(SAMPLES)
        scorers = [{"name": "includes"}]
        first = config_for(simulator, write_rows(root.parent / "a.jsonl", rows), scorers=scorers)
        for row in rows:
            row |= {"level": f"level {row['level']}", "more": 0.5}
        rows[3]["question"] += " [[fault:400]]"
        second = config_for(simulator, write_rows(root.parent / "b.jsonl", rows))
        for name, config in (("a", first), ("b", second)):
            runner.run(config, run_dir=root / name)
    return root / "a", root / "b"


def run_ids(runs: tuple[Path, Path]) -> list[str]:
    return [
        pq.read_schema(run / "responses/part-000000.parquet").metadata[b"evalrunner.run_id"].decode() for run in runs
    ]


def kinds(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(kind) for name, kind in frame.dtypes.items()}


def test_several_runs_come_one_after_the_other_with_all_columns_of_both(runs: tuple[Path, Path]) -> None:
    frame = runner.load(runs)
    assert (frame.columns[0], kinds(frame)["run"]) == ("run", "string[pyarrow]")
    assert frame["run"].tolist() == [name for name in run_ids(runs) for _ in range(SAMPLES)]
    assert kinds(frame)["in_level"] == "string[pyarrow]", "an integer there, a text here"
    assert sorted(set(frame["in_level"])) == ["0", "1", "2", "level 0", "level 1", "level 2"]
    assert frame["in_more"].isna().tolist() == [True] * SAMPLES + [False] * SAMPLES
    assert frame["score_includes"].isna().tolist() == [False] * SAMPLES + [True] * SAMPLES
    assert runner.load([runs[0]]).columns[0] == "run"
    assert list(runner.load(runs, columns=["key", "run"]).columns) == ["key", "run"]
    assert list(runner.load(runs, columns=["key"]).columns) == ["run", "key"]
    assert len(runner.load(runs, columns=["run"])) == 2 * SAMPLES
    assert len(runner.load(runs, columns=["run", "response"])) == 2 * SAMPLES


def test_integers_and_doubles_of_a_kept_column_become_doubles(tmp_path: Path) -> None:
    with serving() as simulator:
        for name, value in (("a", 1), ("b", 1.5)):
            rows = [row | {"level": value} for row in questions(2)]
            runner.run(config_for(simulator, write_rows(tmp_path / f"{name}.jsonl", rows)), run_dir=tmp_path / name)
    frame = runner.load([tmp_path / "a", tmp_path / "b"], columns=["in_level"])
    assert (frame["in_level"].tolist(), kinds(frame)["in_level"]) == ([1.0, 1.0, 1.5, 1.5], "double[pyarrow]")


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (pc.field("status") == "failed", 1),
        ([("status", "==", "failed")], 1),
        ([("status", "==", "failed"), ("in_level", "==", "level 1")], 0),
        ([[("status", "==", "failed")], [("in_level", "==", "level 1")]], 5),
        (pc.field("score_includes") >= 0, SAMPLES),
        (pc.field("error_kind").is_null(), 2 * SAMPLES - 1),
        (pc.field("run") == "nobody", 0),
        (pc.field("in_more") > 0.25, SAMPLES),
    ],
)
def test_rows_are_chosen_by_any_column(runs: tuple[Path, Path], where: Any, rows: int) -> None:
    frame = runner.load(runs, where=where)
    assert len(frame) == rows
    assert kinds(frame) == kinds(runner.load(runs)), "also without any row"
    assert len(runner.load(runs, columns=["key"], where=where)) == rows


def test_chosen_rows_have_their_own_scores_and_bodies(runs: tuple[Path, Path]) -> None:
    columns = ["sample_id", "text", "response", "score_includes"]
    whole = runner.load(runs[0], columns=columns).set_index("sample_id")
    some = runner.load(runs[0], columns=columns, where=[("in_level", "==", 1)]).set_index("sample_id")
    assert (len(some), some.to_dict("index")) == (4, whole.loc[some.index].to_dict("index"))


def test_what_is_wrong_with_a_request_for_rows_is_said(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no column statsu") as caught:
        runner.load(runs[0], where=pc.field("statsu") == "ok")
    assert "did you mean status?" in caught.value.hint
    with pytest.raises(RunFolderError, match="no column run"):
        runner.load(runs[0], where=[("run", "==", "x")])
    for wrong in (pc.field("status") > 3, pc.field("choice"), [("status", "~", "ok")], "status == ok", []):
        with pytest.raises(UsageError, match="where: ") as told:
            runner.load(runs[0], where=wrong)
        assert "pc.field" in told.value.hint
    with pytest.raises(RunFolderError, match="a folder of runs: b, a") as folder:
        runner.load(runs[0].parent)
    assert str(runs[1]) in folder.value.hint
    with pytest.raises(RunFolderError) as pattern:
        runner.load(runs[0].parent / "*")
    assert "glob" in pattern.value.hint
    with pytest.raises(RunFolderError, match=f"holds the run {run_ids(runs)[0]}"):
        runner.load([runs[0], runs[0]])
    with pytest.raises(UsageError, match="no run was given"):
        runner.load([])
    with pytest.raises(RunFolderError, match="has no scores"):
        runner.scan(runs[1], "scores")
    with pytest.raises(UsageError, match="no table to scan"):
        runner.scan(runs[1], "manifest")  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match="holds no part"):
        runner.scan(tmp_path / "empty")


def test_polars_and_duckdb_read_several_runs_and_their_scores_lazily(runs: tuple[Path, Path]) -> None:
    responses, scores = runner.scan(runs), runner.scan([runs[0]], "scores")
    assert responses.schema.names[0] == "run"
    frame = pl.scan_pyarrow_dataset(responses)
    counted = frame.group_by("run").agg(pl.len(), pl.col("in_level").n_unique()).sort("run").collect().rows()
    assert counted == sorted((name, SAMPLES, 3) for name in run_ids(runs))
    joined = frame.join(pl.scan_pyarrow_dataset(scores), on=["run", "key", "choice"]).select("score_includes").collect()
    assert joined.height == SAMPLES
    with duckdb.connect() as connection:
        connection.register("responses", responses)
        connection.register("scores", scores)
        found = connection.execute(
            "SELECT count(*), count(score_includes) FROM responses LEFT JOIN scores USING (run, key, choice)"
        )
        assert found.fetchall() == [(2 * SAMPLES, SAMPLES)]
    assert runner.scan(runs[0], "attempts").count_rows() == SAMPLES
    assert runner.scan(runs[0]).schema.names == pq.read_schema(runs[0] / "responses/part-000000.parquet").names


# ---------------------------------------------------------------- while a session is at work


def rewritten(folder: RunFolder) -> None:
    """Move the rows of the first part to a new one by a commit, as replacing does: what loses rows comes first."""
    log = read_commits(folder)
    parts = [part.name for part in log.parts("responses") if part.rows]
    number, rows = log.next_number, pq.read_table(folder.table("responses") / parts[0], partitioning=None)
    files = []
    for name, table in ((parts[0], rows.slice(0, 0)), (f"part-{number:06d}.parquet", rows)):
        path = staged_path(folder, number, "responses", name)
        with PartWriter(path, rows.schema) as writer:
            for batch in table.to_batches():
                writer.write_batch(batch)
        files.append(CommittedFile("responses", name, table.num_rows, *file_crc32(path)))
    log.append(Commit(number, "seal", files=tuple(files)))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    with serving() as simulator:
        runner.run(
            config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(SAMPLES))), run_dir=tmp_path / "run"
        )
    return tmp_path / "run"


@pytest.mark.parametrize("how", ["load", "scan", "many parts"])
def test_rows_that_move_from_part_to_part_are_read_once_at_any_moment(
    run_dir: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "many parts":
        monkeypatch.setattr("runner.results.runs.MOST_OPEN", 1)
        monkeypatch.setattr("runner.sinks.snapshot._READINGS", 10_000)
    over = threading.Event()
    errors: list[BaseException] = []

    def rewrite() -> None:
        try:
            for _ in range(60):
                rewritten(RunFolder(run_dir))
        except BaseException as error:  # noqa: BLE001 - whatever it is fails the test
            errors.append(error)
        over.set()

    thread = threading.Thread(target=rewrite)
    thread.start()
    seen = 0
    try:
        while not over.is_set():
            table = runner.scan(run_dir).to_table(columns=["sample_id"]) if how == "scan" else None
            ids = (
                runner.load(run_dir, columns=["sample_id"])["sample_id"].tolist()
                if table is None
                else table["sample_id"].to_pylist()
            )
            assert sorted(ids) == sorted(row["id"] for row in questions(SAMPLES))
            seen += 1
    finally:
        thread.join()
    assert errors == []
    assert seen > 1


def test_a_commit_that_was_not_carried_out_counts_as_recovery_will_make_it(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.folder.commits.CommitLog._apply", lambda *_: None)
    rewritten(RunFolder(run_dir))
    monkeypatch.undo()
    assert len(list((run_dir / "_tmp").iterdir())) == 2
    with take_snapshot(RunFolder(run_dir), ["responses"]) as snapshot:
        rows = [part.parquet().metadata.num_rows for part in snapshot.tables["responses"].values()]
    assert rows == [0, 0, SAMPLES], "they stand in the new part, which is in _tmp/ yet"
    before = runner.load(run_dir)
    assert len(before) == SAMPLES
    dataset = runner.scan(run_dir)
    read_commits(RunFolder(run_dir)).apply_last()
    assert runner.load(run_dir).equals(before)
    assert dataset.count_rows() == SAMPLES


def test_a_part_that_was_replaced_is_not_taken_for_the_one_of_the_snapshot(run_dir: Path) -> None:
    with take_snapshot(RunFolder(run_dir), ["responses"], most_open=0) as snapshot:
        parts = list(snapshot.tables["responses"].values())
        assert sum(part.parquet().metadata.num_rows for part in parts) == SAMPLES
        rewritten(RunFolder(run_dir))
        with pytest.raises(BusyError, match="replaced while the run was read"):
            [part.open() for part in parts]
    with take_snapshot(RunFolder(run_dir), ["responses"]) as held:
        rewritten(RunFolder(run_dir))
        assert sum(part.parquet().metadata.num_rows for part in held.tables["responses"].values()) == SAMPLES
