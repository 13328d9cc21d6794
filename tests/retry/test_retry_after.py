from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.durations import MAX_WAIT_S, wait_s_from_text
from runner.retry.retry_after import rate_limit_reset_s, retry_after_s

NOW = datetime(2026, 11, 22, 1, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("3", 3.0),
        (" 1.5 ", 1.5),
        ("2.", 2.0),
        ("1000000000", MAX_WAIT_S),
        ("9" * 99, MAX_WAIT_S),
        ("12ms", 0.012),
        ("1s", 1.0),
        ("1.5s", 1.5),
        ("6m0s", 360.0),
        ("1h2m", 3720.0),
        ("1h2m3.5s", 3723.5),
        ("250us", 0.00025),
        ("250\u00b5s", 0.00025),
        ("250\u03bcs", 0.00025),
        ("100ns", 1e-7),
        ("999h", MAX_WAIT_S),
        ("Sun, 22 Nov 2026 01:46:30 GMT", 90.0),
        ("Sunday, 22-Nov-26 01:46:30 GMT", 90.0),
        ("Sun, 22 Nov 2026 01:46:30 -0000", 90.0),
        ("Sun, 22 Nov 2026 01:44:00 GMT", 0.0),
        ("2026-11-22T01:45:30Z", 30.0),
        ("2026-11-22T01:45:30.250Z", 30.25),
        ("2026-11-22T02:45:30+01:00", 30.0),
        ("2030-01-01T00:00:00Z", MAX_WAIT_S),
        ("2026-11-22T01:44:00Z", 0.0),
    ],
)
def test_a_wait_is_read_in_every_form(text: str, seconds: float) -> None:
    assert wait_s_from_text(text, now=NOW) == pytest.approx(seconds, abs=1e-12)
    assert retry_after_s({"retry-after": text}, now=NOW) == pytest.approx(seconds, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-1", "+5", "NaN", "inf", "-inf", "Infinity", "1e3", "1_000", "0x10", "٣", "1,5", "3 s", "s", "5x"),
        *(
            "-6m",
            "6m 0s",
            "1d",
            "soon",
            "2026-11-22T01:45:30",
            "2026-11-22",
            "9" * 101,
            "0" * 100 + "1s",
            "Thu, 99 Foo 2026 99:99:99 GMT",
        ),
    ],
)
def test_what_is_no_wait_says_nothing(text: str) -> None:
    assert wait_s_from_text(text, now=NOW) is None
    assert retry_after_s({"retry-after": text}, now=NOW) is None


def test_milliseconds_come_first() -> None:
    assert retry_after_s({"retry-after-ms": "1250", "retry-after": "9"}, now=NOW) == 1.25


@pytest.mark.parametrize("text", ["-1", "", "nan", "12ms", "9" * 101])
def test_unreadable_milliseconds_leave_the_word_to_retry_after(text: str) -> None:
    assert retry_after_s({"retry-after-ms": text, "retry-after": "9"}, now=NOW) == 9.0
    assert retry_after_s({"retry-after-ms": text}, now=NOW) is None


def test_no_header_says_nothing() -> None:
    assert retry_after_s({}, now=NOW) is None


def test_dates_are_read_on_the_clock_of_any_zone() -> None:
    now = NOW.astimezone(timezone(timedelta(hours=9)))
    assert retry_after_s({"retry-after": "Sun, 22 Nov 2026 01:45:05 GMT"}, now=now) == 5.0


def reset(family: str, remaining: str, until: str) -> dict[str, str]:
    return {f"x-ratelimit-remaining-{family}": remaining, f"x-ratelimit-reset-{family}": until}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        (reset("requests", "0", "6m0s"), 360.0),
        (reset("tokens", "0", "12ms"), 0.012),
        (reset("tokens", "0.0", "2"), 2.0),
        (reset("requests", "0", "2026-11-22T01:46:00Z"), 60.0),
        (reset("requests", "1", "6m0s"), None),
        (reset("requests", "-1", "0"), None),
        (reset("requests", "0", "-1"), None),
        (reset("tokens_usage_based", "0", "6m0s"), None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        ({"x-ratelimit-reset-requests": "6m0s"}, None),
        (reset("requests", "0", "1s") | reset("tokens", "0", "41.7s"), 41.7),
        (reset("requests", "0", "1s") | reset("tokens", "7", "41.7s"), 1.0),
    ],
)
def test_a_reset_counts_only_where_nothing_remains(headers: dict[str, str], seconds: float | None) -> None:
    assert rate_limit_reset_s(headers, now=NOW) == seconds


fragments = st.sampled_from(
    [
        *("0", "7", "99999", ".", "-", "+", " ", "h", "m", "s", "ms", "ns", "µs", "e", "T", "Z", ":", ",", "GMT"),
        *("Nov", "Sun", "2026", "inf", "NaN", "W", "\x00", "\u0663", "\ud800", "(", "24:00"),
    ]
)


@given(text=st.text(max_size=40) | st.lists(fragments, max_size=14).map("".join))
@example(text="0001-01-01T00:00:00+23:59")
@example(text="9999-12-31T23:59:59-23:59")
@example(text="Sun, 22 Nov 99999 01:46:30 GMT")
@example(text="1" * 99 + "h")
def test_no_header_value_raises_and_every_wait_is_bounded(text: str) -> None:
    headers = {"retry-after": text, "retry-after-ms": text}
    headers |= reset("requests", "0", text) | reset("tokens", text, text)
    for seconds in (retry_after_s(headers, now=NOW), rate_limit_reset_s(headers, now=NOW)):
        assert seconds is None or 0.0 <= seconds <= MAX_WAIT_S


@given(st.floats(0, MAX_WAIT_S))
def test_plain_seconds_are_read_back(seconds: float) -> None:
    assert retry_after_s({"retry-after": f"{seconds:.9f}"}, now=NOW) == pytest.approx(seconds, abs=1e-9)


@given(st.timedeltas(timedelta(0), timedelta(hours=23)))
def test_times_are_read_back(wait: timedelta) -> None:
    assert retry_after_s({"retry-after": (NOW + wait).isoformat()}, now=NOW) == wait.total_seconds()
