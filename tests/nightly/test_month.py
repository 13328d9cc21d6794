"""A month of nights: a kill, a hung server, a model that gets worse and is mended, a missed night, a full disk.

Of each night verdict, exit code, record, what a receiver was told, what the server answered, and what is kept are
right.
"""

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
from tests.support.receiver import receiving
from tests.support.runs import config_for, questions, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.nightly import ConfigRecord, NightRecord
    from runner.simulate import Simulator
    from tests.support.receiver import Receiver

ROWS = 40
KEEP = 3
IN_FLIGHT = 4
HOOK = "HOOK_OF_A_MONTH"
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
    """The suite, its server, who is told, and the clock."""

    simulator: Simulator
    receiver: Receiver
    config: Path

    def night(self, day: int, at: timedelta = timedelta()) -> NightRecord:
        """Carry out the night of a day, counted from 1, `at` after its usual time."""
        clock = VirtualClock(FIRST + timedelta(days=day - 1) + at)
        ways = Ways(now=clock.now, patience=QUICK_ENDS, server_wait_s=5.0, reports=False)
        return run_night(load_suite([self.config]), NightOptions(), ways)


@pytest.fixture
def month(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Month]:
    rows = [row | {"answer": row["question"]} for row in questions(ROWS)]
    dataset = write_rows(tmp_path / "questions.jsonl", rows)
    config = config_for(
        simulator,
        dataset,
        name="gsm",
        limits={"max_in_flight": IN_FLIGHT},
        scorers=[{"name": "exact_match"}],
        nightly={"deadline": "06:00", "keep": KEEP},
        gates={"baseline": "last_good", "scores": {"exact_match": {"max_drop": 0.02}}},
        notify=[{"webhook_env": HOOK, "on": "always"}],
    )
    simulator.change(ECHO)
    with receiving() as receiver:
        monkeypatch.setenv(HOOK, receiver.url)
        yield Month(simulator, receiver, write_config(tmp_path / "gsm.yaml", config))


SLOW = distribution_from_text("0.3")
ECHO = replace(QUICK, answers=replace(QUICK.answers, echo=True))
# What each night ends with, where it is not exit 0, "good", a success.
EXPECTED = {
    8: (6, "gsm: incomplete", "failure"),
    9: (0, "good again", "recovery"),
    12: (4, "gsm: a score gate failed", "regression"),
    13: (4, "gsm: a score gate failed", "regression"),
    14: (4, "gsm: a score gate failed", "regression"),
    15: (0, "good again", "recovery"),
    20: (74, "gsm: the disk failed or is full", "failure"),
    21: (0, "good again", "recovery"),
}
# The last night before each that was good: what it is compared with.
BASES = {9: 7, 12: 11, 13: 11, 14: 11, 15: 11, 18: 16, 21: 19}


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


def carry_out(month: Month, day: int) -> NightRecord:
    """Carry out the night of a day with what befalls it."""
    if day == 5:
        kill_in_mid_run(month, day)
        return month.night(day)
    if day == 8:
        month.simulator.change(replace(ECHO, faults=FaultRules({"hang": 1.0})))
        return month.night(day, timedelta(hours=3, minutes=59, seconds=55))
    if day in (12, 13, 14):
        month.simulator.change(QUICK)  # no answer is what was asked for
        return month.night(day)
    if day == 20:
        with file_size(16_000):
            return month.night(day)
    return month.night(day)


@pytest.mark.timeout(300)
def test_a_month_of_nights(month: Month, tmp_path: Path) -> None:
    days = [day for day in range(1, 31) if day != 17]  # the machine was off
    for told, day in enumerate(days, 1):
        before = paid(month)
        record = carry_out(month, day)
        month.simulator.change(ECHO)
        exit_code, verdict, event = EXPECTED.get(day, (0, "good", "success"))
        (config,) = record.configs
        assert (record.exit_code, record.verdict, config.event) == (exit_code, verdict, event), day
        assert record.missed == (["2026-11-17"] if day == 18 else [])
        assert len(month.receiver.bodies) == told, "each night is told once"
        assert_told(month.receiver.bodies[-1], day)
        assert_paid_once(paid(month) - before, day)
        assert_compared(config, day)
        assert_kept_runs(tmp_path / "outputs" / "gsm", day)
    assert_kept_state(tmp_path)


def assert_told(message: dict[str, Any], day: int) -> None:
    exit_code, verdict, event = EXPECTED.get(day, (0, "good", "success"))
    assert (message["night"], message["event"], message["verdict"]) == (f"2026-11-{day:02}", event, verdict)
    (config,) = message["configs"]
    assert config["exit_code"] == exit_code
    if event == "regression":
        assert [gate["passed"] for gate in config["gates"]] == [False]
        assert "exact_match.max_drop FAILED: 1, at most 0.02" in message["text"]
        assert f"worse against nightly-202611{BASES[day]:02}" in config["verdict"]
        (score,) = config["scores"]
        assert (score["mean"], score["baseline"], score["difference"]) == (0.0, 1.0, -1.0)
        assert score["difference_interval"][1] < 0
        assert (len(config["flips"]), config["flips_in_all"]) == (5, ROWS)
        assert config["flips"][0]["text"]


def assert_paid_once(answered: Counter[str], day: int) -> None:
    """Assert that every row was answered once; only what was under way when a night was killed may be asked again."""
    if day == 8:
        assert answered.total() == 0
    elif day == 20:
        assert set(answered.values()) <= {1}
    else:
        again = {digest: count for digest, count in answered.items() if count != 1}
        assert len(answered) == ROWS
        assert set(again.values()) <= {2}
        assert len(again) <= (IN_FLIGHT if day == 5 else 0)


def assert_compared(config: ConfigRecord, day: int) -> None:
    """Assert with which night a night is compared, and what was found."""
    if day in (1, 8, 20):
        assert config.comparison is None
        assert config.notes == (["not compared: no earlier run of it was good"] if day == 1 else [])
        return
    assert config.comparison is not None
    assert config.comparison["base"] == f"nightly-202611{BASES.get(day, day - 1):02}"
    verdict = config.comparison["scores"]["exact_match"]["verdict"]
    assert (verdict == "worse") is (day in (12, 13, 14))
    assert config.scores["exact_match"]["mean"] == (0.0 if day in (12, 13, 14) else 1.0)
    assert [gate["passed"] for gate in config.gates if gate["name"] == "scores.exact_match.max_drop"] == [
        day not in (12, 13, 14)
    ]


def assert_kept_runs(runs: Path, day: int) -> None:
    """Assert that the newest runs are kept, and the last good one as long as later ones are compared with it."""
    days = [one for one in range(1, day + 1) if one != 17][-KEEP:]
    older = {14: 11, 15: 11}.get(day)
    expected = [f"nightly-202611{one:02}" for one in ([older] if older else []) + days]
    assert sorted(path.name for path in runs.iterdir()) == expected, day


def assert_kept_state(folder: Path) -> None:
    suite = folder / "outputs" / "_nightly" / "gsm"
    nights: list[dict[str, Any]] = [json.loads(path.read_bytes()) for path in sorted(suite.glob("nights/*/night.json"))]
    assert [night["date"] for night in nights] == [f"2026-11-{day:02}" for day in range(30 - KEEP + 1, 31)]
    assert sorted(path.name for path in suite.iterdir()) == ["LOCK", "_tmp", "index.html", "junit.xml", "nights"]
    assert list((suite / "_tmp").iterdir()) == []
