"""Two processes on one run folder: one works, the other says who does; a killed holder leaves the lock free."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.kill_cases import MAX_IN_FLIGHT, Case, make_rows
from tests.support.kill_driver import Job
from tests.support.kill_oracle import judge_end, read_state
from tests.support.kill_programs import Driver, open_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.kill_programs import Server

pytestmark = pytest.mark.kill

BUSY = 75
RACES = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(tmp_path_factory.mktemp("server"), "--first-token", "0.3") as server:
        yield server


@pytest.fixture(scope="module")
def drivers() -> Iterator[tuple[Driver, Driver]]:
    with Driver() as first, Driver() as second:
        yield first, second


def make_case(folder: Path, server: Server, rows: int) -> Case:
    case = Case(folder)
    case.write_config(server)
    case.write_rows(make_rows(folder.name, rows))
    return case


def test_the_second_process_names_the_holder_and_a_killed_holder_frees_the_lock(
    server: Server, drivers: tuple[Driver, Driver], tmp_path: Path
) -> None:
    case = make_case(tmp_path, server, 3 * MAX_IN_FLIGHT)
    first, second = drivers
    before = server.arrived()
    holder = first.start(Job(case.command, str(tmp_path / "first.txt")))
    while server.arrived() == before:
        os.sched_yield()
    for command in (case.command, ("resume", str(case.run_dir))):
        assert second.run(Job(command, str(case.output))) == BUSY
        assert f"process {holder} on " in case.output.read_text()
    os.kill(holder, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    seen = read_state(case.run_dir)
    assert seen.problems == []
    assert second.run(Job(case.command, str(case.output))) == 0, case.output.read_text()
    assert judge_end(case.run_dir, case.ids, seen.answers) == []
    assert 0 <= case.resent(server) <= MAX_IN_FLIGHT


def test_of_two_that_start_together_one_works(server: Server, drivers: tuple[Driver, Driver], tmp_path: Path) -> None:
    for number in range(RACES):
        folder = tmp_path / f"race-{number}"
        folder.mkdir()
        case = make_case(folder, server, MAX_IN_FLIGHT)
        for driver in drivers:
            driver.start(Job(case.command, str(case.output)))
        assert sorted(driver.wait() for driver in drivers) == [0, BUSY], case.output.read_text()
        assert judge_end(case.run_dir, case.ids, {}) == []
        assert case.resent(server) == 0
