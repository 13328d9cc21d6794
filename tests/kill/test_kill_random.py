"""SIGKILL at random moments over one dataset, judged against the server's own ledger.

`EVALRUNNER_KILLS` and `EVALRUNNER_KILL_ROWS` set how many kills and rows; `EVALRUNNER_KILL_SEED` draws other moments.
"""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.support.kill_cases import MAX_IN_FLIGHT, Case, make_rows
from tests.support.kill_driver import Job
from tests.support.kill_oracle import http_requests, judge_end, possibly_billed, read_state
from tests.support.kill_programs import ROOT, Driver, open_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.kill_oracle import FolderState
    from tests.support.kill_programs import Server

pytestmark = pytest.mark.kill

KILLS = int(os.environ.get("EVALRUNNER_KILLS", "10"))
ROWS = int(os.environ.get("EVALRUNNER_KILL_ROWS", "3000"))
SEED = int(os.environ.get("EVALRUNNER_KILL_SEED", "20261122"))
# With 8 in flight and 10 to 30 ms for an answer no more than 400 come in a second, 160 a session: the kills fall within
# the first two thirds of the rows.
LATENCY = "0.01..0.03"
LONGEST_S = 0.8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with open_server(tmp_path, "--first-token", LATENCY) as server:
        yield server


@pytest.fixture
def case(server: Server, tmp_path: Path) -> Case:
    case = Case(tmp_path)
    case.write_config(server)
    return case


def test_random_kills_lose_nothing_and_pay_twice_for_no_more_than_was_in_flight(case: Case, server: Server) -> None:
    case.write_rows(make_rows("random", ROWS))
    random = Random(SEED)  # noqa: S311 - moments, not secrets
    seen: dict[str, str] = {}
    begun = 0
    for number in range(KILLS):
        kill_at_work(case, server, random.uniform(0, LONGEST_S))
        state = read_state(case.run_dir)
        assert state.problems == [], f"after kill {number + 1}, seed {SEED}"
        assert_kept(state, seen)
        assert server.arrivals_of(case.digests) > begun, "the kill came before the work"
        begun = server.arrivals_of(case.digests)
        seen |= state.answers
    assert len(seen) < ROWS, "the last kills fell on a finished run"
    with start(case) as process:
        assert process.wait() == 0, case.output.read_text()
    assert judge_end(case.run_dir, case.ids, seen) == []
    assert server.answered() == case.digests
    assert 0 <= case.resent(server) <= KILLS * MAX_IN_FLIGHT
    uncounted = server.arrived() - http_requests(case.run_dir)
    assert 0 <= uncounted <= KILLS * MAX_IN_FLIGHT
    assert possibly_billed(case.run_dir) <= KILLS * MAX_IN_FLIGHT


def test_random_kills_from_the_first_instant_on_while_segments_are_sealed(case: Case, server: Server) -> None:
    rows, kills = max(ROWS // 4, 500), 2 * KILLS
    case.write_rows(make_rows("sealing", rows))
    random = Random(SEED)  # noqa: S311 - moments, not secrets
    seen: dict[str, str] = {}
    job = Job(case.command, str(case.output), segment_bytes=30_000, group_rows=4)
    with Driver() as driver:
        for number in range(kills):
            child = driver.start(job)
            code = driver.kill_after(child, random.uniform(0, LONGEST_S / 2))
            assert code in {-9, 0}, case.output.read_text()
            state = read_state(case.run_dir)
            assert state.problems == [], f"after kill {number + 1}, seed {SEED}"
            assert_kept(state, seen)
            seen |= state.answers
        assert driver.run(job) == 0, case.output.read_text()
    assert judge_end(case.run_dir, case.ids, seen) == []
    assert 0 <= case.resent(server) <= kills * MAX_IN_FLIGHT


def test_random_kills_in_the_middle_of_streams(server: Server, tmp_path: Path) -> None:
    case, rows, kills = Case(tmp_path), max(ROWS // 4, 500), max(KILLS // 2, 1)
    messages = [{"role": "user", "content": "{{ prompt }}"}]
    case.write_config(server, request={"endpoint": "chat", "messages": messages, "stream": True})
    case.write_rows(make_rows("streams", rows))
    random = Random(SEED)  # noqa: S311 - moments, not secrets
    seen: dict[str, str] = {}
    for number in range(kills):
        kill_at_work(case, server, random.uniform(0, LONGEST_S / 4))
        state = read_state(case.run_dir)
        assert state.problems == [], f"after kill {number + 1}, seed {SEED}"
        assert_kept(state, seen)
        seen |= state.answers
    with start(case) as process:
        assert process.wait() == 0, case.output.read_text()
    assert judge_end(case.run_dir, case.ids, seen) == []
    assert server.answered() == case.digests
    assert 0 <= case.resent(server) <= kills * MAX_IN_FLIGHT


def assert_kept(state: FolderState, seen: dict[str, str]) -> None:
    assert [key for key, answer in seen.items() if state.answers.get(key, answer) != answer] == []


def start(case: Case) -> subprocess.Popen[bytes]:
    output = case.output.open("ab")
    with output:
        command = [sys.executable, "-m", "runner", *case.command]
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)


def kill_at_work(case: Case, server: Server, after_s: float) -> None:
    """Start the run and kill it, that long after its first request came in."""
    before = server.arrived()
    with start(case) as process:
        while server.arrived() == before:
            assert wait(process, 0.01) is None, f"ended by itself:\n{case.output.read_text()}"
        assert wait(process, after_s) is None, f"ended by itself:\n{case.output.read_text()}"
        process.kill()


def wait(process: subprocess.Popen[bytes], most_s: float) -> int | None:
    """Wait for the process, so long at most; return its exit code if it ended."""
    try:
        return process.wait(most_s)
    except subprocess.TimeoutExpired:
        return None
