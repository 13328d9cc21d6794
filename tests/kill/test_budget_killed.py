"""SIGKILL under a budget: what was under way counts as billed, so that the cap holds though all of it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from tests.support.kill_cases import Case
from tests.support.kill_driver import Job
from tests.support.kill_programs import Driver, open_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.kill_programs import Server

pytestmark = pytest.mark.kill

CAP, SLOTS, ROWS, STOPPED = 6_000, 16, 400, 5
# A prompt of 10 characters is 3 tokens and 4 for the message; all answers are 8 tokens.
PROMPT, LONGEST, TOKENS = "what is {:03d}", 12, 3 + 4 + 8
POINTS = (
    "session:after-answer:9",
    "session:after-answer:40",
    "journal:before-write:3",
    "journal:after-write:6",
    "journal:after-sync:9",
    "sealing:after-staging:1",
    "commit:after-commit-file:1",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with open_server(tmp_path, "--first-token", "0.002..0.01", "--completion-tokens", "8") as server:
        yield server


def test_a_cap_holds_though_all_that_was_under_way_was_billed(server: Server, tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.write_rows([{"id": f"s{number:03d}", "prompt": PROMPT.format(number)} for number in range(ROWS)])
    request = {
        "endpoint": "chat",
        "messages": [{"role": "user", "content": "{{ prompt }}"}],
        "params": {"max_completion_tokens": LONGEST},
    }
    limits = {"max_in_flight": SLOTS}
    case.write_config(server, request=request, limits=limits, budget={"max_tokens": CAP})
    with Driver() as driver:
        for point in POINTS:
            job = Job(case.command, str(case.output), segment_bytes=20_000, crash_at=point)
            assert driver.run(job) in {-9, STOPPED}, case.output.read_text()
        assert driver.run(Job(case.command, str(case.output))) == STOPPED
    totals = read_commits(RunFolder(case.run_dir)).totals
    assert totals.possibly_billed > 0
    # Each of them took its most: the bytes of its body, and the longest answer.
    assert totals.charged_tokens >= totals.possibly_billed * (LONGEST + len(PROMPT.format(0)))
    spent = totals.total_tokens + totals.charged_tokens
    assert server.arrived() * TOKENS <= spent <= CAP
    manifest = orjson.loads((case.run_dir / "manifest.json").read_bytes())
    assert any("are counted against the budget" in warning for warning in manifest["warnings"])
