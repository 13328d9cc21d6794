"""A disk that is full, refuses or lies: the run stops cleanly, says why, claims nothing, and continues afterwards."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import orjson
import pytest

from tests.support.kill_cases import MAX_IN_FLIGHT, Case, make_rows
from tests.support.kill_driver import Job
from tests.support.kill_oracle import judge_end, possibly_billed, read_state
from tests.support.kill_programs import Driver, open_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.kill_programs import Server

pytestmark = pytest.mark.kill

ROWS = 100
STORAGE = 74
CANNOT_CREATE = 73


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(tmp_path_factory.mktemp("server"), "--first-token", "0.002") as server:
        yield server


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    with Driver() as driver:
        yield driver


@pytest.fixture
def case(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    case = Case(tmp_path)
    case.write_config(server)
    case.write_rows(make_rows(request.node.name, ROWS))
    return case


def job(case: Case, **changes: int | str) -> Job:
    return Job(case.command, str(case.output), **changes)  # type: ignore[arg-type] # each test names fields of Job


def assert_stopped_cleanly(case: Case, server: Server) -> dict[str, str]:
    """Judge the folder of a run that the disk stopped; return the answers in it."""
    state = read_state(case.run_dir)
    assert state.problems == []
    assert 0 < len(state.answers) < ROWS
    assert server.arrivals_of(case.digests) < ROWS, "requests went out after the disk had refused"
    manifest = orjson.loads((case.run_dir / "manifest.json").read_bytes())
    assert (manifest["status"], manifest["sessions"][-1]["exit_code"]) == ("interrupted", STORAGE)
    return state.answers


def assert_continues(case: Case, server: Server, driver: Driver, seen: dict[str, str]) -> None:
    """Start the run again on a healthy disk and judge the end."""
    assert driver.run(job(case)) == 0, case.output.read_text()
    assert judge_end(case.run_dir, case.ids, seen) == []
    assert 0 <= case.resent(server) <= MAX_IN_FLIGHT
    assert possibly_billed(case.run_dir) <= MAX_IN_FLIGHT


def test_a_journal_that_may_not_grow_stops_the_run_and_it_continues(case: Case, server: Server, driver: Driver) -> None:
    assert driver.run(job(case, file_bytes=60_000)) == STORAGE
    output = case.output.read_text()
    assert "the disk is full as far as this process may use it" in output
    assert "000001.journal" in output
    assert "Resume with" in output
    assert_continues(case, server, driver, assert_stopped_cleanly(case, server))


def test_a_part_that_may_not_grow_stops_the_run_and_it_continues(case: Case, server: Server, driver: Driver) -> None:
    # Groups of one frame, so that a segment stays below what even a part of three rows needs.
    case.write_config(server, limits={"max_in_flight": 1})
    assert driver.run(job(case, file_bytes=8_500, segment_bytes=4_000)) == STORAGE
    assert "parquet" in case.output.read_text()
    assert_continues(case, server, driver, assert_stopped_cleanly(case, server))


def test_a_failed_sync_stops_the_run_and_is_never_tried_again(case: Case, server: Server, driver: Driver) -> None:
    assert driver.run(job(case, fail_sync_at=5)) == STORAGE, "134 would be a second sync of the same file"
    output = case.output.read_text()
    assert "cannot sync" in output
    assert "Input/output error" in output
    assert_continues(case, server, driver, assert_stopped_cleanly(case, server))


@pytest.mark.parametrize(
    "name",
    [
        "000002.journal",
        "000003.responses.part-000002.parquet",
        "000003.raw.part-000002.parquet",
        "000003._commits.part-000002.index.npy",
    ],
)
def test_a_file_that_cannot_be_made_in_the_middle_stops_the_run_and_it_continues(
    name: str, case: Case, server: Server, driver: Driver
) -> None:
    # At a pace that leaves rows unsent when the sealing of the first segments, beside them, meets the refusal.
    case.write_config(server, limits={"max_in_flight": MAX_IN_FLIGHT, "requests_per_minute": 3_000})
    assert driver.run(job(case, refuse=name, segment_bytes=20_000)) == STORAGE, case.output.read_text()
    assert name in case.output.read_text()
    assert_continues(case, server, driver, assert_stopped_cleanly(case, server))


def test_a_run_folder_that_cannot_be_made_is_said_before_any_request(
    case: Case, server: Server, driver: Driver
) -> None:
    obstacle = case.folder / "file"
    obstacle.write_text("not a folder")
    arguments = ("run", str(case.config), "--run-dir", str(obstacle / "run"), "--quiet")
    assert driver.run(Job(arguments, str(case.output))) == CANNOT_CREATE
    assert str(obstacle) in case.output.read_text()
    assert server.arrivals_of(case.digests) == 0
    assert obstacle.read_text() == "not a folder"


def test_a_first_segment_that_cannot_be_made_is_said_before_any_request(
    case: Case, server: Server, driver: Driver
) -> None:
    assert driver.run(job(case, refuse="000001.journal")) == CANNOT_CREATE
    assert "the disk is full" in case.output.read_text()
    assert server.arrivals_of(case.digests) == 0
    assert_continues(case, server, driver, {})


def test_a_kill_after_the_disk_was_full_loses_nothing(case: Case, server: Server, driver: Driver) -> None:
    assert driver.run(job(case, file_bytes=60_000)) == STORAGE
    seen = assert_stopped_cleanly(case, server)
    assert driver.run(job(case, crash_at="session:after-answer:3")) == -signal.SIGKILL
    seen |= read_state(case.run_dir).answers
    assert driver.run(job(case)) == 0
    assert judge_end(case.run_dir, case.ids, seen) == []
    assert 0 <= case.resent(server) <= 2 * MAX_IN_FLIGHT
