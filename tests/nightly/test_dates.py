from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from runner.nightly.dates import LONGEST, date_of, dates_between, end_of, night_at

ZURICH = ZoneInfo("Europe/Zurich")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "run_id"),
    [
        ("2026-11-27T22:59:00", "nightly-20261127"),
        ("2026-11-27T23:00:00", "nightly-20261128"),
        ("2026-11-28T00:30:00", "nightly-20261128"),
        ("2026-12-31T23:30:00", "nightly-20270101"),
    ],
)
def test_a_night_has_the_date_on_which_it_begins_in_its_zone(now: str, run_id: str) -> None:
    assert night_at(at(now), ZURICH, None).run_id == run_id


@pytest.mark.parametrize(
    ("now", "deadline", "end"),
    [
        ("2026-11-27T22:00:00", "06:00", "2026-11-28T05:00:00"),
        ("2026-11-28T01:00:00", "06:00", "2026-11-28T05:00:00"),
        ("2026-11-28T05:00:00", "06:00", "2026-11-29T03:00:00"),
        ("2026-11-28T08:00:00", "06:00", "2026-11-29T05:00:00"),
        ("2026-11-28T01:00:00", None, "2026-11-28T23:00:00"),
        # Clocks go forward at 01:00 UTC on 2026-03-29: 02:30 does not exist, 03:00 is an hour nearer.
        ("2026-03-29T00:00:00", "02:30", "2026-03-29T01:30:00"),
        ("2026-03-28T22:00:00", "06:00", "2026-03-29T04:00:00"),
        # Clocks go back at 01:00 UTC on 2026-10-25: 02:30 comes twice, the first counts.
        ("2026-10-24T22:00:00", "02:30", "2026-10-25T00:30:00"),
        ("2026-10-25T00:45:00", "02:30", "2026-10-25T22:45:00"),
        ("2026-10-24T22:00:00", "06:00", "2026-10-25T05:00:00"),
    ],
)
def test_a_night_ends_at_the_deadline_that_comes_next(now: str, deadline: str | None, end: str) -> None:
    expected = min(at(end), at(now) + LONGEST)
    assert end_of(at(now), ZURICH, deadline) == expected


def test_every_night_of_a_year_ends_before_the_next_begins() -> None:
    for zone in ("Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"):
        for days in range(366):
            day = date(2026, 1, 1) + timedelta(days=days)
            begin = datetime(day.year, day.month, day.day, 2, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC)
            night = night_at(begin, ZoneInfo(zone), "02:00")
            assert begin < night.ends_at <= begin + LONGEST


def test_the_dates_between_two_nights_are_those_without_one() -> None:
    assert dates_between(date(2026, 2, 27), date(2026, 3, 2)) == [date(2026, 2, 28), date(2026, 3, 1)]
    assert dates_between(date(2026, 2, 27), date(2026, 2, 28)) == []
    assert dates_between(date(2026, 2, 28), date(2026, 2, 27)) == []


@pytest.mark.parametrize("name", ["nightly-2026112", "nightly-20261332", "nightly-20261127x", "20261127T0000Z-abcd"])
def test_other_names_are_no_nights(name: str) -> None:
    assert date_of(name) is None


def test_a_run_id_tells_its_date() -> None:
    assert date_of("nightly-20261127") == date(2026, 11, 27)
