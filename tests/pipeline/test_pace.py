"""The pace of a session stands in its event log: a first line, few of a long session, and a last one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import orjson
import pytest

import runner
from runner.limiter import PoolStatistics
from runner.pipeline.sending import pace
from runner.progress import Snapshot
from tests.support.runs import config_for, questions, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator

POOL = PoolStatistics(
    admitted=9, waiting=4, in_flight=2, max_in_flight=8, frozen_for_s=0.0, paused=False, paused_s=1.5, waited_s=0.0,
    out=("http://one",), servers=(),
)  # fmt: skip
SEEN = Snapshot(
    done=12, total=20, already_done=5, answered=6, failed=1, in_flight=2, waiting=3, retries=1, rate_limited=1,
    tokens=9, cost_usd=None, elapsed_s=10.0,
)  # fmt: skip


def test_a_line_tells_what_is_waited_for() -> None:
    line = pace.pace_line(SEEN, POOL, cpu_s=0.25)
    assert (line["elapsed_s"], line["ended"], line["held"], line["waiting"], line["out"]) == (11.5, 7, 4, 3, 1)
    assert (line["in_flight"], line["max_in_flight"], line["cpu_s"]) == (2, 8, 0.25)


@pytest.mark.asyncio
async def test_lines_come_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 200:
            scope.cancel()
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("runner.pipeline.sending.pace.anyio.sleep", sleep)
    lines: list[dict[str, object]] = []
    with anyio.CancelScope() as scope:
        await pace.note_pace(lambda: (SEEN, POOL), lambda _event, line: lines.append(line))
    assert [waits.count(seconds) for seconds in (1.0, 2.0, 4.0, 8.0)] == [59, 60, 60, 21]
    assert len(lines) == 201  # the last one is written when it ends


def test_a_run_notes_its_pace(simulator: Simulator, tmp_path: Path) -> None:
    config = config_for(simulator, write_rows(tmp_path / "data.jsonl", questions(10)))
    runner.run(config, run_dir=tmp_path / "run")
    log = tmp_path / "run" / "run.log.jsonl"
    events: list[dict[str, Any]] = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    lines = [event for event in events if event["event"] == pace.EVENT]
    assert len(lines) >= 2
    assert (lines[-1]["ended"], lines[-1]["answered"], lines[-1]["in_flight"]) == (10, 10, 0)
