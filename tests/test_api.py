from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import orjson
import pytest

import runner
from runner.errors import ConfigError, DatasetError, UsageError
from tests.support.runs import by_sample, check_books, config_for, questions, sent_by, table, write_config, write_rows

if TYPE_CHECKING:
    from runner.simulate import Simulator

ROOT = Path(__file__).parent.parent
SAMPLES = 5


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "data.jsonl", questions(SAMPLES))


def test_run_takes_a_file_by_text_or_path_and_paths_in_it_count_from_it(
    simulator: Simulator, dataset: Path, tmp_path: Path
) -> None:
    config = config_for(simulator, Path("data.jsonl"), output={"dir": "results"})
    path = write_config(tmp_path / "run.yaml", config)
    summary = runner.run(str(path))
    assert (summary.ok, summary.exit_code) == (SAMPLES, 0)
    assert Path(summary.run_dir).parent == tmp_path / "results" / "test"
    assert Path(summary.run_dir).name == summary.run_id
    check_books(summary, simulator)
    assert runner.run(path).run_id != summary.run_id
    assert dataset.exists()


def test_run_takes_a_mapping_and_paths_in_it_count_from_the_current_folder(
    simulator: Simulator, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = config_for(simulator, Path(dataset.name), output={"dir": "out"})
    kept = orjson.dumps(config)
    summary = runner.run(config)
    assert Path(summary.run_dir).parent == tmp_path / "out" / "test"
    assert orjson.dumps(config) == kept, "the caller's config is not changed"


def test_overrides_win_over_the_config(simulator: Simulator, dataset: Path, tmp_path: Path) -> None:
    config = config_for(simulator, dataset)
    overrides = ["dataset.limit=2", "request.params.temperature=0.5"]
    summary = runner.run(config, overrides=overrides, run_dir=tmp_path / "a")
    assert (summary.samples, summary.ok) == (2, 2)
    request = orjson.loads(runner.load(tmp_path / "a", columns=["request"])["request"][0])
    assert request["temperature"] == 0.5
    path = write_config(tmp_path / "run.yaml", config)
    assert runner.run(path, overrides=("dataset.limit=3",), run_dir=str(tmp_path / "b")).ok == 3


def test_run_dir_names_the_folder_and_continues_it(simulator: Simulator, dataset: Path, tmp_path: Path) -> None:
    config = config_for(simulator, dataset)
    first = runner.run(config, run_dir=tmp_path / "mine")
    before = sent_by(simulator)
    second = runner.run(config, run_dir=str(tmp_path / "mine"))
    assert first.run_dir == second.run_dir == str(tmp_path / "mine")
    assert sent_by(simulator) == before


@pytest.mark.asyncio
async def test_arun_runs_inside_a_loop(simulator: Simulator, dataset: Path, tmp_path: Path) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        summary = await runner.arun(
            config_for(simulator, dataset), overrides=["dataset.limit=4"], run_dir=tmp_path / "r"
        )
        group.cancel_scope.cancel()
    assert (summary.ok, summary.exit_code) == (4, 0)
    assert ticks > 10, "the loop was held up"
    check_books(summary, simulator)


@pytest.mark.asyncio
async def test_arun_leaves_the_folder_unlocked(simulator: Simulator, dataset: Path, tmp_path: Path) -> None:
    config = config_for(simulator, dataset)
    await runner.arun(config, run_dir=tmp_path / "r")
    before = sent_by(simulator)
    again = await runner.arun(config, run_dir=tmp_path / "r")
    assert (again.ok, sent_by(simulator)) == (SAMPLES, before)


@pytest.mark.asyncio
async def test_several_runs_at_once_in_one_loop(simulator: Simulator, dataset: Path, tmp_path: Path) -> None:
    summaries: list[runner.RunSummary] = []

    async def one(name: str) -> None:
        summaries.append(await runner.arun(config_for(simulator, dataset), run_dir=tmp_path / name))

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(one, name)
    assert [summary.ok for summary in summaries] == [SAMPLES] * 3


@pytest.mark.asyncio
async def test_a_cancelled_arun_loses_nothing_durable_and_can_be_continued(
    simulator: Simulator, tmp_path: Path
) -> None:
    rows = questions(40)
    rows[30]["question"] += " [[fault:hang*1]]"
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config = config_for(simulator, dataset, limits={"max_in_flight": 2}, request={"timeout_s": {"total": 3}})

    async with anyio.create_task_group() as group:

        async def cancel_when_most_is_answered() -> None:
            while simulator.statistics().answered < 39:  # noqa: ASYNC110 - the server sets no event
                await anyio.sleep(0.005)
            group.cancel_scope.cancel()

        group.start_soon(cancel_when_most_is_answered)
        await runner.arun(config, run_dir=tmp_path / "r")
    before = sent_by(simulator)
    summary = await runner.arun(config, run_dir=tmp_path / "r")
    assert (summary.ok, summary.status) == (40, "complete")
    assert sent_by(simulator) - before <= 2
    kinds = {row["error_kind"] for row in table(tmp_path / "r", "attempts")}
    assert kinds <= {None, "cancelled"}, "what was under way was waited for"
    assert len(by_sample(tmp_path / "r")) == 40


@pytest.mark.asyncio
async def test_run_inside_a_loop_is_refused_by_an_error(simulator: Simulator, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        runner.run(config_for(simulator, dataset), run_dir=tmp_path / "r")
    summary = await runner.arun(config_for(simulator, dataset), run_dir=tmp_path / "r")
    assert summary.ok == SAMPLES


def test_doubtful_parameters_are_warned_of_however_the_config_came(
    simulator: Simulator, dataset: Path, tmp_path: Path
) -> None:
    config = config_for(simulator, dataset, request={"params": {"temperature": 7}})
    by_file = runner.run(write_config(tmp_path / "run.yaml", config), run_dir=tmp_path / "a")
    by_mapping = runner.run(config, run_dir=tmp_path / "b")
    assert any("temperature" in warning for warning in by_file.warnings)
    assert by_mapping.warnings == by_file.warnings


def test_mistakes_are_errors_of_ours_and_leave_nothing_behind(
    simulator: Simulator, dataset: Path, tmp_path: Path
) -> None:
    config = config_for(simulator, dataset)
    wrong = [
        (config | {"nam": 1}, ConfigError),
        (config | {"dataset": {"path": str(tmp_path / "gone.jsonl")}}, DatasetError),
        (config | {"dataset": {"path": str(dataset), "id": "idd"}}, DatasetError),
        (config | {"model": {**config["model"], "api_key_env": "SURELY_NOT_SET_ANYWHERE"}}, UsageError),
    ]
    for values, error in wrong:
        with pytest.raises(error) as caught:
            runner.run(values, run_dir=tmp_path / "r")
        assert caught.value.exit_code == 2
    with pytest.raises(ConfigError):
        runner.run(config, overrides=["limits.max_in_flite=3"], run_dir=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    assert sent_by(simulator) == 0


def test_the_package_names_what_it_has_and_nothing_else() -> None:
    assert set(runner.__all__) == {"RunSummary", "RunnerError", "arun", "load", "load_embeddings", "run", "scan"}
    assert all(getattr(runner, name) is not None for name in runner.__all__)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = runner.no_such_thing


def test_a_run_needs_no_pandas_and_loading_no_http_client() -> None:
    program = "import sys, runner; runner.{0}; sys.exit({1!r} in sys.modules)"
    for used, spared in (("run", "pandas"), ("load", "aiohttp")):
        ended = subprocess.run([sys.executable, "-c", program.format(used, spared)], cwd=ROOT, check=False)
        assert ended.returncode == 0, f"runner.{used} imports {spared}"


def test_the_interface_type_checks_as_a_user_calls_it(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache")]
    command += ["--config-file", "pyproject.toml", "tests/typing_api.py"]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert tmp_path.exists()
