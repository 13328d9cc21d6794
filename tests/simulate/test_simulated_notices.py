from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from runner.errors import RateLimitError, UsageError
from runner.retry.classify import classify_status
from runner.retry.retry_after import retry_after_s
from runner.simulate import NOTICES
from runner.simulate.limits import Charge, Gate, Limits
from runner.simulate.notices import Told, check_notice, go_duration

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


def told(limits: Limits, *charges: Charge) -> Told:
    """Return what there is to tell after the last of these requests, all at once and at noon."""
    gate = Gate(limits)
    admission = [gate.admit(charge, 0.0) for charge in charges][-1]
    return Told(admission.standings, admission.refusal, "m", NOON.timestamp())


BOTH = Limits(600, 60_000, burst_s=60)
ANSWER, REFUSAL = told(BOTH, Charge(12_000, 0)), told(BOTH, Charge(12_000, 0), Charge(48_150, 0))


def test_openai_tells_everything_and_durations_as_go_does() -> None:
    assert NOTICES["openai"].headers(ANSWER) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "60000",
        "x-ratelimit-remaining-tokens": "48000",
        "x-ratelimit-reset-tokens": "12s",
    }
    refused = NOTICES["openai"].headers(REFUSAL)
    assert (refused["Retry-After"], refused["retry-after-ms"]) == ("1", "150")


def test_azure_tells_what_remains_and_on_a_refusal_one_limit() -> None:
    assert NOTICES["azure"].headers(ANSWER) == {
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-remaining-tokens": "48000",
    }
    assert NOTICES["azure"].headers(REFUSAL) == {
        "x-ratelimit-remaining-requests": "-1",
        "x-ratelimit-limit-requests": "-1",
        "x-ratelimit-reset-requests": "0",
        "x-ratelimit-remaining-tokens": "48000",
        "x-ratelimit-limit-tokens": "60000",
        "x-ratelimit-reset-tokens": "12",
        "Retry-After": "1",
        "retry-after-ms": "150",
    }


def test_anthropic_tells_times_of_day() -> None:
    limits = Limits(600, input_tokens_per_minute=60_000, output_tokens_per_minute=6000, burst_s=60)
    headers = NOTICES["anthropic"].headers(told(limits, Charge(12_000, 50)))
    assert headers == {
        "anthropic-ratelimit-requests-limit": "600",
        "anthropic-ratelimit-requests-remaining": "599",
        "anthropic-ratelimit-requests-reset": "2026-03-04T12:00:01Z",
        "anthropic-ratelimit-input-tokens-limit": "60000",
        "anthropic-ratelimit-input-tokens-remaining": "48000",
        "anthropic-ratelimit-input-tokens-reset": "2026-03-04T12:00:12Z",
        "anthropic-ratelimit-output-tokens-limit": "6000",
        "anthropic-ratelimit-output-tokens-remaining": "5950",
        "anthropic-ratelimit-output-tokens-reset": "2026-03-04T12:00:01Z",
    }


def test_the_draft_tells_in_two_fields() -> None:
    assert NOTICES["draft"].headers(ANSWER) == {
        "RateLimit-Policy": '"requests";q=600;w=60, "tokens";q=60000;w=60',
        "RateLimit": '"requests";r=599;t=1, "tokens";r=48000;t=12',
    }
    assert NOTICES["draft"].headers(REFUSAL)["Retry-After"] == "1"


def test_the_wait_alone_or_nothing_at_all() -> None:
    assert [NOTICES["retry-after"].headers(one) for one in (ANSWER, REFUSAL)] == [{}, {"Retry-After": "1"}]
    assert [NOTICES["none"].headers(one) for one in (ANSWER, REFUSAL)] == [{}, {}]


@pytest.mark.parametrize("name", NOTICES)
def test_every_refusal_is_a_rate_limit_to_the_client_and_its_wait_is_understood(name: str) -> None:
    notice = NOTICES[name]
    for limits, charge in ((BOTH, Charge(60_000, 0)), (Limits(1, burst_s=1), Charge(1, 0))):
        one = told(limits, charge, charge)
        assert one.refusal is not None
        assert one.refusal.retry_after_s == pytest.approx(60)
        reply = notice.refuse(one, one.refusal)
        headers = {key.lower(): value for key, value in notice.headers(one).items()}
        error = classify_status(reply.status, headers, reply.body, answered_before=True, now=NOON)
        assert type(error) is RateLimitError
        assert retry_after_s(headers, now=NOON) == (None if name == "none" else pytest.approx(60, abs=1))


@pytest.mark.parametrize("name", NOTICES)
def test_a_request_that_never_fits_is_told_no_wait(name: str) -> None:
    one = told(BOTH, Charge(60_001, 0))
    assert one.refusal is not None
    headers = {key.lower() for key in NOTICES[name].headers(one)}
    assert not headers & {"retry-after", "retry-after-ms"}
    assert NOTICES[name].refuse(one, one.refusal).status == 429


def test_openai_s_refusal_counts_what_was_used() -> None:
    assert REFUSAL.refusal is not None
    error = orjson.loads(NOTICES["openai"].refuse(REFUSAL, REFUSAL.refusal).body)["error"]
    assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
    assert (
        "tokens per min (TPM): Limit 60000, Used 12000, Requested 48150. Please try again in 150ms." in error["message"]
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "1ms"),
        (0.012, "12ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (41.724, "41.724s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (5400.25, "1h30m0.25s"),
    ],
)
def test_durations_read_as_go_prints_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_an_unknown_way_to_tell_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="loud"):
        check_notice("loud")
