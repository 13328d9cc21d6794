from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.simulate.limits import Admission, Gate, Limits, go_duration


def admit(gate: Gate, now: float, tokens: int = 1) -> Admission:
    return gate.admit("m", tokens, now)


def test_no_limits_no_headers() -> None:
    assert admit(Gate(Limits()), 0.0, 10**9) == Admission(admitted=True)


def test_a_burst_passes_and_the_rest_waits_for_the_refill() -> None:
    gate = Gate(Limits(requests_per_minute=60, burst_s=3))
    assert [admit(gate, 100.0).admitted for _ in range(4)] == [True, True, True, False]
    assert admit(gate, 100.0).retry_after_s == pytest.approx(1.0)
    assert not admit(gate, 100.999).admitted
    assert admit(gate, 101.0).admitted
    assert not admit(gate, 101.0).admitted


def test_the_burst_never_grows_beyond_its_size() -> None:
    gate = Gate(Limits(requests_per_minute=60, burst_s=3))
    admit(gate, 0.0)
    assert sum(admit(gate, 10_000.0).admitted for _ in range(10)) == 3


def test_a_burst_is_at_least_one_request() -> None:
    gate = Gate(Limits(requests_per_minute=6, burst_s=1))
    assert admit(gate, 0.0).admitted
    assert admit(gate, 0.0).retry_after_s == pytest.approx(10.0)


def test_tokens_are_charged_at_admission() -> None:
    gate = Gate(Limits(tokens_per_minute=6000, burst_s=10))
    assert admit(gate, 0.0, 900).admitted
    refused = admit(gate, 0.0, 300)
    assert (refused.admitted, refused.limit_name) == (False, "tokens")
    assert refused.retry_after_s == pytest.approx(2.0)
    assert "tokens per min (TPM): Limit 6000" in refused.message
    assert "Requested 300. Please try again in 2s." in refused.message


def test_what_one_limit_refuses_is_charged_by_neither() -> None:
    gate = Gate(Limits(requests_per_minute=60, tokens_per_minute=6000, burst_s=10))
    admit(gate, 0.0, 1000)
    for _ in range(20):
        assert not admit(gate, 0.0, 1000).admitted
    assert admit(gate, 0.0, 0).headers["x-ratelimit-remaining-requests"] == "8"


def test_more_than_a_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    gate = Gate(Limits(tokens_per_minute=6000, burst_s=1))
    assert admit(gate, 0.0, 600).admitted
    refused = admit(gate, 0.0, 1)
    assert refused.retry_after_s == pytest.approx(5.01)
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"


def test_more_than_a_minute_s_limit_never_passes() -> None:
    gate = Gate(Limits(tokens_per_minute=6000, burst_s=60))
    refused = admit(gate, 0.0, 6001)
    assert refused.retry_after_s is None
    assert refused.message.startswith("Request too large for m ")
    assert "Retry-After" not in refused.headers


def test_headers_take_openai_s_form() -> None:
    gate = Gate(Limits(requests_per_minute=600, tokens_per_minute=60_000, burst_s=60))
    assert admit(gate, 0.0, 12_000).headers == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "60000",
        "x-ratelimit-remaining-tokens": "48000",
        "x-ratelimit-reset-tokens": "12s",
    }
    refused = admit(gate, 0.0, 48_150)
    assert (refused.headers["Retry-After"], refused.headers["retry-after-ms"]) == ("1", "150")


def test_headers_can_be_hidden() -> None:
    gate = Gate(Limits(requests_per_minute=6, send_headers=False))
    assert admit(gate, 0.0).headers == {}
    refused = admit(gate, 0.0)
    assert (refused.admitted, refused.headers) == (False, {})


def test_refused_requests_can_keep_an_impatient_client_out() -> None:
    def served(*, charge_refused: bool) -> int:
        gate = Gate(Limits(requests_per_minute=60, burst_s=1, charge_refused=charge_refused))
        return sum(admit(gate, tenth / 10).admitted for tenth in range(600))

    assert served(charge_refused=False) == 60
    assert served(charge_refused=True) == 1


def test_a_client_that_was_kept_out_is_back_after_one_refill() -> None:
    gate = Gate(Limits(requests_per_minute=60, burst_s=1, charge_refused=True))
    for tenth in range(600):
        admit(gate, tenth / 10)
    assert admit(gate, 60.9).admitted


@given(
    per_minute=st.floats(1, 10_000),
    burst_s=st.floats(0.1, 60),
    steps=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 200)), max_size=60),
)
def test_never_more_than_rate_and_burst_in_any_window(
    per_minute: float, burst_s: float, steps: list[tuple[float, int]]
) -> None:
    gate = Gate(Limits(tokens_per_minute=per_minute, burst_s=burst_s))
    burst = max(1.0, per_minute * burst_s / 60)
    now, passed = 0.0, [(0.0, 0)]
    for pause_s, tokens in steps:
        now += pause_s
        if admit(gate, now, tokens).admitted:
            passed.append((now, tokens))
    for first in range(len(passed)):
        spent = sum(tokens for _, tokens in passed[first:-1])
        window_s = passed[-1][0] - passed[first][0]
        assert spent <= burst + per_minute * window_s / 60 + 1e-3


@given(per_minute=st.floats(1, 10_000), burst_s=st.floats(0.1, 60), costs=st.lists(st.integers(1, 50), max_size=30))
def test_who_waits_as_told_is_admitted(per_minute: float, burst_s: float, costs: list[int]) -> None:
    gate = Gate(Limits(tokens_per_minute=per_minute, burst_s=burst_s))
    now = 1000.0
    for cost in costs:
        decision = admit(gate, now, cost)
        if not decision.admitted and decision.retry_after_s is not None:
            now += decision.retry_after_s
            assert admit(gate, now, cost).admitted


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
