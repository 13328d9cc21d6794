from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.limiter.headers import LimitSeen, Unit, limits_in

NOW = datetime(2026, 11, 22, 1, 45, tzinfo=UTC)
OPENAI = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-tokens": "29976",
    "x-ratelimit-reset-tokens": "6m0s",
    "x-ratelimit-limit-tokens_usage_based": "7",
    "x-request-id": "req_1",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-11-22T01:45:01Z",
    "anthropic-ratelimit-input-tokens-limit": "30000",
    "anthropic-ratelimit-input-tokens-remaining": "30000",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-22T01:44:59Z",
    "anthropic-ratelimit-output-tokens-limit": "8000",
    "anthropic-ratelimit-output-tokens-remaining": "7000",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-22T01:45:08Z",
}


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ({}, []),
        ({"x-request-id": "a", "retry-after": "3"}, []),
        (
            OPENAI,
            [LimitSeen(Unit.REQUESTS, 500, 499, 0.12), LimitSeen(Unit.TOKENS, 30_000, 29_976, 360)],
        ),
        (
            ANTHROPIC,
            [
                LimitSeen(Unit.REQUESTS, 50, 49, 1),
                LimitSeen(Unit.INPUT_TOKENS, 30_000, 30_000, 0),
                LimitSeen(Unit.OUTPUT_TOKENS, 8_000, 7_000, 8),
            ],
        ),
        (
            {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "50", "ratelimit-reset": "7"},
            [LimitSeen(Unit.REQUESTS, 100, 50, 7)],
        ),
        (
            {"ratelimit-limit": "10", "ratelimit-policy": "10;w=1", "ratelimit-remaining": "0"},
            [LimitSeen(Unit.REQUESTS, 10, 0, None, 1)],
        ),
        ({"ratelimit": "limit=100, remaining=50, reset=7"}, [LimitSeen(Unit.REQUESTS, 100, 50, 7)]),
        (
            {"ratelimit": '"default";r=50;t=7', "ratelimit-policy": '"default";q=100;w=60'},
            [LimitSeen(Unit.REQUESTS, 100, 50, 7, 60)],
        ),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "2"}, [LimitSeen(Unit.REQUESTS, None, 3, 2)]),
        # Azure's Responses API, proxies, and worse.
        ({"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "-1"}, []),
        ({"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-requests": ""}, []),
        ({"x-ratelimit-limit-tokens": "NaN", "x-ratelimit-reset-tokens": "1s"}, []),
        ({"x-ratelimit-limit-tokens": "9" * 30}, []),
        ({"x-ratelimit-limit-tokens": "unlimited", "x-ratelimit-remaining-tokens": "9e9"}, []),
        ({"ratelimit": "q=1;r=x"}, []),
        ({"x-ratelimit-limit-requests": "٣"}, []),
        (
            {"x-ratelimit-limit-requests": "60", "x-ratelimit-reset-requests": "-1"},
            [LimitSeen(Unit.REQUESTS, 60, None, None)],
        ),
    ],
)
def test_limits_are_read_in_every_form(headers: dict[str, str], seen: list[LimitSeen]) -> None:
    assert limits_in(headers, now=NOW) == seen


NAMES = st.sampled_from([*OPENAI, *ANTHROPIC, "ratelimit", "ratelimit-policy", "ratelimit-limit", "x-ratelimit-limit"])


PARTS = st.sampled_from(
    ["q", "w", "r", "t", "limit", "=", ";", ",", "-1", "0", "60", "9" * 30, "1.5", "nan", "ms", '"', "٣"]
)


@given(st.dictionaries(NAMES, st.lists(PARTS, max_size=8).map("".join), max_size=8))
def test_whatever_a_server_sends_gives_finite_counts_or_nothing(headers: dict[str, str]) -> None:
    for seen in limits_in(headers, now=NOW):
        assert seen.limit is None or 0 < seen.limit < 1e12
        assert seen.remaining is None or 0 <= seen.remaining < 1e20
        assert seen.reset_s is None or seen.reset_s >= 0
