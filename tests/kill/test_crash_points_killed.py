"""SIGKILL at every named crash point of a run, then again while the next start recovers, then a plain start: nothing is
lost, nothing is there twice, nothing has to be done by hand.

A scenario is a state before, and the points at which the next start is killed, each in a folder of its own. One start
of each scenario is not killed and counts what it passes. A point in no scenario is a failure, as is one not reached.
"""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from runner.crash_points import CRASH_POINTS
from tests.support.kill_cases import MAX_IN_FLIGHT, Case, make_rows
from tests.support.kill_driver import Job
from tests.support.kill_oracle import http_requests, judge_end, possibly_billed, read_state
from tests.support.kill_programs import Driver, open_server, run_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.support.kill_programs import Server

pytestmark = pytest.mark.kill

ROWS = 24
# Small segments and row groups, so that a run of 24 rows seals several times.
SEGMENT_BYTES = 7_000
GROUP_ROWS = 4
WORKERS = 2
KILLED = -signal.SIGKILL

ATOMIC = (
    "atomic:after-create",
    "atomic:after-write",
    "atomic:after-sync",
    "atomic:after-rename",
    "atomic:after-folder-sync",
)
PUBLISH = ("publish:before-rename", "publish:after-rename", "publish:after-folder-sync")
COMMIT = ("commit:after-commit-file", "commit:after-rename")
REMOVE = ("remove:before", "remove:after")
SEGMENT = (
    "journal:after-create",
    "journal:after-header-write",
    "journal:after-header-sync",
    "journal:after-folder-sync",
)
GROUP = ("journal:before-write", "journal:after-write", "journal:after-sync", "journal:after-mark")
SEALED = (
    "sealing:after-row-group",
    "sealing:after-staging",
    "sealing:before-segment-removal",
    "sealing:after-segment-removal",
)
EVERY_START = ("recovery:after-apply", "recovery:before-sealing", "run:after-tables", "run:after-manifest")

# `repair_tail` is not part of a run: a torn tail is counted and left, and goes with its segment. Other scorers are
# killed in `tests/cli/test_score_command.py`.
NOT_IN_RUNS = {
    "repair:after-cut",
    "repair:after-sync",
    "scoring:after-part",
    "scoring:after-commit",
    "scoring:after-switch",
}
# Where the second start, the one that recovers, is killed; one of these after the other.
NESTED = (*EVERY_START, *SEALED, *COMMIT, *PUBLISH, *REMOVE, *ATOMIC)


@dataclass(frozen=True, slots=True)
class Scenario:
    """`prepare` makes the state before; `points` maps a point to the passings that are killed at.

    `sent_twice` is how many requests are rightly sent again, `taken_out` how many rows end in `superseded/`.
    `extra` are arguments of every start but those that prepare.
    """

    prepare: Callable[[Case, Driver], None]
    points: Mapping[str, tuple[int, ...]]
    sent_twice: int = 0
    taken_out: int = 0
    extra: tuple[str, ...] = ()


def each(points: tuple[str, ...], *passings: int) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(points, passings)


def rows_of(case: Case) -> list[dict[str, str]]:
    return make_rows(case.folder.name, ROWS)


def begin(case: Case, driver: Driver) -> None:  # noqa: ARG001 - the state before a first start is nothing
    case.write_rows(rows_of(case))


def leave_segments(case: Case, driver: Driver) -> None:
    """Leave a journal with a segment whose sealing was cut off and later ones, and rows that were never sent."""
    case.write_rows(rows_of(case)[: ROWS - 4])
    assert driver.run(job(case, crash_at="sealing:after-row-group:2")) == KILLED
    case.write_rows(rows_of(case))


def fail_some(case: Case, driver: Driver, fault: str = "500") -> None:
    """Leave failed rows in several parts, which a healthy server will now answer.

    One after the other: rows that end together are in one group, and a fast client has them all in one segment.
    """
    config = case.config.read_text()
    case.config.write_text(config.replace(f'"max_in_flight":{MAX_IN_FLIGHT}', '"max_in_flight":1'))
    assert case.config.read_text() != config
    rows = rows_of(case)
    for row in rows[::6]:
        row["prompt"] += f" [[fault:{fault}*1]]"
    case.write_rows(rows)
    assert driver.run(job(case)) == 3
    case.config.write_text(config)


def refuse_some(case: Case, driver: Driver) -> None:
    """Leave failed rows in several parts that are sent again on request only."""
    fail_some(case, driver, "400")


def edit(case: Case, driver: Driver) -> None:
    """Leave a complete run whose dataset was edited since: a prompt, a note, a row removed, a row appended."""
    rows = rows_of(case)
    case.write_rows(rows)
    assert driver.run(job(case)) == 0
    rows[3]["prompt"] += " Think."
    rows[15]["note"] = "edited"
    del rows[20]
    rows.append({**make_rows(case.folder.name, ROWS + 1)[-1]})
    case.write_rows(rows)


SCENARIOS = {
    "fresh": Scenario(
        begin,
        {
            "folder:after-create": (1, 5, 8),
            "session:after-answer": (1, 20),
            **each(EVERY_START, 1),
            **each((*ATOMIC, *COMMIT), 1, 2, 3),
            **each(GROUP, 1, 3),
            **each(PUBLISH, 1, 4, 5),
            **each((*REMOVE, *SEGMENT, *SEALED), 1, 2),
        },
    ),
    "recovering": Scenario(
        leave_segments,
        {
            "session:after-answer": (1,),
            **each(EVERY_START, 1),
            **each((*SEALED, *COMMIT, *PUBLISH, *REMOVE), 1, 2),
            **each(ATOMIC, 1),
        },
    ),
    "retracting": Scenario(
        fail_some,
        {
            "superseding:after-staging": (1, 2),
            "session:after-answer": (1,),
            "run:after-manifest": (1,),
            **each((*PUBLISH, *COMMIT), 1, 2, 3),
            **each(ATOMIC, 2, 3),
        },
        sent_twice=4,
        taken_out=4,
    ),
    "replacing": Scenario(
        refuse_some,
        {
            "superseding:after-staging": (1,),
            "session:after-answer": (1,),
            "run:after-manifest": (1,),
            "sealing:before-segment-removal": (1,),
            **each(COMMIT, 1),
            "commit:after-rename": (1, 2, 3, 4, 6),
            **each(PUBLISH, 1, 3, 5),
            **each(ATOMIC, 2, 3),
        },
        sent_twice=4,
        taken_out=4,
        extra=("--only", "failed"),
    ),
    "reconciling": Scenario(
        edit,
        {
            "superseding:after-staging": (1, 2),
            "sealing:after-segment-removal": (1,),
            **each(COMMIT, 2, 3),
            **each(PUBLISH, 5, 6, 7),
            **each(ATOMIC, 3, 4),
        },
        taken_out=2,
    ),
}


def job(case: Case, *extra: str, crash_at: str = "", census: str = "") -> Job:
    return Job(
        (*case.command, *extra),
        str(case.output),
        crash_at=crash_at,
        census=census,
        segment_bytes=SEGMENT_BYTES,
        group_rows=GROUP_ROWS,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def drivers() -> Iterator[SimpleQueue[Driver]]:
    free: SimpleQueue[Driver] = SimpleQueue()
    every = [Driver() for _ in range(WORKERS)]
    for driver in every:
        free.put(driver)
    yield free
    for driver in every:
        driver.close()


def kill_and_judge(
    scenario: Scenario, case: Case, server: Server, driver: Driver, points: tuple[str, str]
) -> list[str]:
    """Prepare, kill at the first point, kill the recovery at the second, let it finish; return what went wrong."""
    scenario.prepare(case, driver)
    seen: dict[str, str] = {}
    problems, kills = [], 1
    code = driver.run(job(case, *scenario.extra, crash_at=points[0]))
    if code != KILLED:
        return [f"not killed: exit {code}\n{case.output.read_text()}"]
    for crash_at in (points[1], ""):
        state = read_state(case.run_dir)
        problems += state.problems
        seen |= state.answers
        code = driver.run(job(case, *scenario.extra, crash_at=crash_at))
        kills += code == KILLED
        if code not in ({KILLED, 0} if crash_at else {0}):
            return [*problems, f"exit {code} after {points}:\n{case.output.read_text()[-2000:]}"]
    problems += judge_end(case.run_dir, case.ids, seen)
    taken_out = len(read_state(case.run_dir).taken_out)
    if taken_out != scenario.taken_out:
        problems.append(f"{taken_out} rows in superseded, not {scenario.taken_out}")
    most = (kills + (scenario.prepare is leave_segments)) * MAX_IN_FLIGHT
    twice = case.resent(server)
    counts = {
        "requests were sent again": twice - scenario.sent_twice,
        "requests arrived that the summary does not count": twice + len(case.digests) - http_requests(case.run_dir),
        "requests are said to be possibly billed": possibly_billed(case.run_dir),
    }
    problems += [f"{count} {what} after {kills} kills" for what, count in counts.items() if not 0 <= count <= most]
    return problems


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_crash_point_is_survived_and_so_is_a_kill_while_recovering(
    name: str, server: Server, drivers: SimpleQueue[Driver], tmp_path: Path
) -> None:
    scenario = SCENARIOS[name]
    nested = cycle(NESTED)
    plans = [(f"{point}:{n}", next(nested)) for point, passings in scenario.points.items() for n in passings]

    def carry_out(number: int) -> list[str]:
        folder = tmp_path / f"{name}-{number}"
        folder.mkdir()
        case = Case(folder)
        case.write_config(server)
        driver = drivers.get()
        try:
            return [f"{plans[number]}: {one}" for one in kill_and_judge(scenario, case, server, driver, plans[number])]
        finally:
            drivers.put(driver)

    with ThreadPoolExecutor(WORKERS) as pool:
        problems = [one for found in pool.map(carry_out, range(len(plans))) for one in found]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_passes_the_points_that_it_kills_at(
    name: str, server: Server, drivers: SimpleQueue[Driver], tmp_path: Path
) -> None:
    scenario = SCENARIOS[name]
    driver = drivers.get()
    try:
        case = Case(tmp_path)
        case.write_config(server)
        scenario.prepare(case, driver)
        code = driver.run(job(case, *scenario.extra, census=str(tmp_path / "census")))
    finally:
        drivers.put(driver)
    assert code == 0, case.output.read_text()
    passed = json.loads((tmp_path / "census").read_text())
    missed = {point: passed.get(point, 0) for point, n in scenario.points.items() if passed.get(point, 0) < max(n)}
    assert missed == {}


def test_every_crash_point_is_in_a_scenario() -> None:
    killed_at = {point for scenario in SCENARIOS.values() for point in scenario.points}
    assert killed_at == set(CRASH_POINTS) - NOT_IN_RUNS


def test_the_environment_arms_a_crash_point(server: Server, tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.write_config(server)
    case.write_rows(rows_of(case))
    environment = {**os.environ, "EVALRUNNER_CRASH_AT": "sealing:before-segment-removal"}
    assert run_program(case.command, environment) == KILLED
    seen = read_state(case.run_dir)
    assert not seen.problems
    assert len(seen.answers) == ROWS
    assert run_program(case.command, {**environment, "EVALRUNNER_CRASH_AT": ""}) == 0
    assert judge_end(case.run_dir, case.ids, seen.answers) == []
    assert case.resent(server) == 0
