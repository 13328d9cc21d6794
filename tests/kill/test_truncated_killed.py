"""SIGKILL while cut answers are asked for again: no answer that was paid for is lost, and none stands twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from tests.support.kill_cases import Case, make_rows
from tests.support.kill_driver import Job
from tests.support.kill_oracle import judge_end, read_state
from tests.support.kill_programs import Driver, open_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.kill_programs import Server

pytestmark = pytest.mark.kill

ROWS = 16
SEGMENT_BYTES, GROUP_ROWS = 7_000, 4
POINTS = (
    "session:after-answer:3",
    "session:after-answer:20",
    "journal:after-sync:3",
    "sealing:after-staging:2",
    "superseding:after-staging:1",
    "superseding:after-staging:2",
    "commit:after-commit-file:3",
    "commit:after-rename:5",
    "commit:after-rename:9",
    "publish:after-rename:8",
    "sealing:before-segment-removal:2",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(tmp_path_factory.mktemp("server"), "--completion-tokens", "8") as server:
        yield server


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    with Driver() as driver:
        yield driver


def job(case: Case, crash_at: str = "", *extra: str) -> Job:
    command = (*case.command, *extra)
    return Job(command, str(case.output), crash_at=crash_at, segment_bytes=SEGMENT_BYTES, group_rows=GROUP_ROWS)


@pytest.mark.parametrize("point", POINTS)
def test_cut_answers_survive(point: str, server: Server, driver: Driver, tmp_path: Path) -> None:
    case = Case(tmp_path)
    request = {
        "endpoint": "chat",
        "messages": [{"role": "user", "content": "{{ prompt }}"}],
        "params": {"max_tokens": 2},
        "on_truncated": "retry",
        "max_tokens_cap": 8,
    }
    case.write_config(server, request=request)
    case.write_rows(make_rows(f"cut {point}", ROWS))
    assert driver.run(job(case, point)) < 0
    seen: dict[str, str] = {}
    problems: list[str] = []
    for extra in ((), ("--only", "truncated")):
        state = read_state(case.run_dir)
        problems += state.problems
        seen |= state.answers
        assert driver.run(job(case, "", *extra)) == 0, case.output.read_text()
    assert problems + judge_end(case.run_dir, case.ids, seen) == []
    assert orjson.loads((case.run_dir / "manifest.json").read_bytes())["summary"]["by_status"] == {"ok": ROWS}
