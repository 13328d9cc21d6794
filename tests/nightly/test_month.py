"""A month of nights: killed, hung, missed, with a full disk; verdict, exit code and event of each are right."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner.nightly import NightOptions, Ways, load_suite, run_night
from runner.nightly.child import Patience
from runner.simulate import FaultRules, distribution_from_text
from tests.support.commands import ROOT
from tests.support.runs import config_for, questions, table, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.nightly import NightRecord
    from runner.simulate import Simulator

ROWS = 40
KEEP = 7
FIRST = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
QUICK_ENDS = Patience(drain_s=1.0, seal_s=20.0, kill_s=5.0)


@dataclass(slots=True)
class VirtualClock:
    """A clock that stands where the test puts it and goes on from there at the usual pace."""

    base: datetime
    begun: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        return self.base + timedelta(seconds=time.monotonic() - self.begun)


@dataclass(slots=True)
class Month:
    """The suite, its server and its clock."""

    simulator: Simulator
    config: Path

    def night(self, day: int, at: timedelta = timedelta()) -> NightRecord:
        """Carry out the night of a day, counted from 1, `at` after its usual time."""
        clock = VirtualClock(FIRST + timedelta(days=day - 1) + at)
        ways = Ways(now=clock.now, patience=QUICK_ENDS, server_wait_s=5.0, reports=False)
        return run_night(load_suite([self.config]), NightOptions(), ways)


@pytest.fixture
def month(simulator: Simulator, tmp_path: Path) -> Month:
    rows = [row | {"answer": row["question"]} for row in questions(ROWS)]
    dataset = write_rows(tmp_path / "questions.jsonl", rows)
    config = config_for(
        simulator,
        dataset,
        name="gsm",
        limits={"max_in_flight": 4},
        scorers=[{"name": "exact_match"}],
        nightly={"deadline": "06:00", "keep": KEEP},
    )
    simulator.change(ECHO)
    return Month(simulator, write_config(tmp_path / "gsm.yaml", config))


SLOW = distribution_from_text("0.3")
ECHO = replace(QUICK, answers=replace(QUICK.answers, echo=True))


@contextmanager
def file_size(most_bytes: int) -> Iterator[None]:
    """Let no file of this process and its children grow beyond a size: what a full disk is to them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def kill_in_mid_run(month: Month, day: int) -> None:
    """Begin a night in a process of its own, and kill that and its child once some rows are answered."""
    begin = (FIRST + timedelta(days=day - 1)).isoformat()
    program = (
        "import sys\nfrom datetime import datetime\nfrom pathlib import Path\n"
        "from runner.nightly import NightOptions, Ways, load_suite, run_night\n"
        "now = datetime.fromisoformat(sys.argv[2])\n"
        "run_night(load_suite([Path(sys.argv[1])]), NightOptions(), Ways(now=lambda: now, reports=False))\n"
    )
    before = month.simulator.statistics().requests
    # Slow enough to be caught in the middle.
    month.simulator.change(replace(ECHO, latency=replace(ECHO.latency, first_token=SLOW)))
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(month.config), begin], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    last = time.monotonic() + 60
    while month.simulator.statistics().requests < before + 8 and time.monotonic() < last:
        assert process.poll() is None
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    process.kill()
    os.kill(int(child), signal.SIGKILL)
    process.wait()
    month.simulator.change(ECHO)


def paid(month: Month) -> Counter[str]:
    return Counter(entry.digest for entry in month.simulator.ledger.entries() if entry.answered)


@pytest.mark.timeout(300)
def test_a_month_of_nights(month: Month, tmp_path: Path) -> None:
    runs = tmp_path / "outputs" / "gsm"
    for day in range(1, 31):
        before = paid(month).total()
        if day == 17:  # the machine was off
            continue
        if day == 5:
            kill_in_mid_run(month, day)
            record = month.night(day)
            rows = table(record.configs[0].run_dir)
            assert len(rows) == ROWS
            # At most the requests under way at the kill were sent again.
            assert ROWS <= paid(month).total() - before <= ROWS + 4
            assert (record.exit_code, record.configs[0].event) == (0, "success")
            continue
        if day == 8:
            month.simulator.change(replace(ECHO, faults=FaultRules({"hang": 1.0})))
            record = month.night(day, timedelta(hours=3, minutes=59, seconds=55))
            assert (record.exit_code, record.configs[0].state, record.configs[0].event) == (6, "failure", "failure")
            assert record.configs[0].message == "not complete when the night was over"
            month.simulator.change(ECHO)
            continue
        if day == 20:
            with file_size(16_000):
                record = month.night(day)
            assert (record.exit_code, record.configs[0].event) == (74, "failure")
            continue
        record = month.night(day)
        config = record.configs[0]
        assert (record.exit_code, record.verdict) == (0, "good again" if day in (9, 21) else "good"), day
        assert config.event == ("recovery" if day in (9, 21) else "success")
        assert record.missed == (["2026-11-17"] if day == 18 else [])
        assert paid(month).total() - before == ROWS
        assert config.scores["exact_match"]["mean"] == 1.0
    names = sorted(path.name for path in runs.iterdir())
    assert names == [f"nightly-202611{day:02}" for day in range(30 - KEEP + 1, 31)]
    assert_kept_state(tmp_path)


def assert_kept_state(folder: Path) -> None:
    suite = folder / "outputs" / "_nightly" / "gsm"
    nights: list[dict[str, Any]] = [json.loads(path.read_bytes()) for path in sorted(suite.glob("nights/*/night.json"))]
    assert [night["date"] for night in nights] == [f"2026-11-{day:02}" for day in range(24, 31)]
    assert sorted(path.name for path in suite.iterdir()) == ["LOCK", "_tmp", "index.html", "junit.xml", "nights"]
    assert list((suite / "_tmp").iterdir()) == []
