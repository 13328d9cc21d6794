from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.schedule import next_times, read_expression
from runner.schedule.calendar import calendar_events
from runner.schedule.expression import longest_wait_s

BASE = datetime(2026, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"(?:Iter\. #\d+|Next elapse|\(in UTC\)): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")


@pytest.mark.parametrize(
    ("at", "events"),
    [
        ("0 2 * * *", ["*-*-* 02:00:00 UTC"]),
        ("*/20 2,4 * * mon-fri", ["Mon,Tue,Wed,Thu,Fri *-*-* 02,04:00,20,40:00 UTC"]),
        ("5 1 1 jan *", ["*-01-01 01:05:00 UTC"]),
        ("0 3 13 * 5", ["*-*-13 03:00:00 UTC", "Fri *-*-* 03:00:00 UTC"]),
        ("0 3 */2 * 7", ["Sun *-*-01,03,05,07,09,11,13,15,17,19,21,23,25,27,29,31 03:00:00 UTC"]),
        ("@daily", ["*-*-* 00:00:00 UTC"]),
    ],
)
def test_an_expression_becomes_calendar_events(at: str, events: list[str]) -> None:
    assert calendar_events(read_expression(at), "UTC") == events


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("", "expected five fields, found 0"),
        ("0 0 2 * * *", "found 6; a field of seconds is not cron's"),
        ("60 2 * * *", "bad minute in '60 2 * * *'"),
        ("0 2 L * *", "L and # are not understood"),
        ("0 2 * * 5#2", "L and # are not understood"),
        ("0 2 30 2 *", "bad day-of-month"),
        ("@reboot", "no time of day"),
        ("0 2 * * fun", "bad day-of-week"),
    ],
)
def test_a_wrong_expression_is_told_with_a_hint(at: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"^--at: ") as caught:
        read_expression(at)
    assert message in caught.value.message
    assert "02:00 every day" in caught.value.hint


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}")
    step = st.integers(1, high)
    one = st.one_of(number.map(str), spans, st.tuples(spans, step).map(lambda two: f"{two[0]}/{two[1]}"))
    every = st.one_of(st.just("*"), step.map(lambda count: f"*/{count}"))
    return st.one_of(every, st.lists(one, min_size=1, max_size=3).map(",".join))


@settings(max_examples=40, deadline=None)
@given(st.tuples(_field(0, 59), _field(0, 23), _field(1, 28), _field(1, 12), _field(0, 7)).map(" ".join))
def test_systemd_elapses_when_cron_would(at: str) -> None:
    cron = read_expression(at)
    found: set[str] = set()
    for event in calendar_events(cron, "UTC"):
        command = ["systemd-analyze", "calendar", "--iterations=8", "--base-time=2026-01-01 00:00:00 UTC", event]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env={"TZ": "UTC", "PATH": "/usr/bin"}
        )
        found.update(_TIME.findall(done.stdout))
    expected = [one.strftime("%Y-%m-%d %H:%M:%S") for one in next_times(cron, ZoneInfo("UTC"), BASE, 8)]
    assert sorted(found)[:8] == expected


def test_the_wait_for_a_deadline_is_that_of_the_earliest_start() -> None:
    assert longest_wait_s(read_expression("0 2 * * *"), "06:00") == 4 * 3600
    assert longest_wait_s(read_expression("0 22,3 * * *"), "06:30") == 8 * 3600 + 1800
    assert longest_wait_s(read_expression("0 6 * * *"), "06:00") == 24 * 3600
