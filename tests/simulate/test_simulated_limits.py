from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.simulate.limits import Admission, Charge, Gate, LimitChange, Limits, change_from_text

if TYPE_CHECKING:
    from runner.simulate.limits import Refusal


def admit(gate: Gate, now: float, tokens: int = 1, output_tokens: int = 0) -> Admission:
    return gate.admit(Charge(tokens, output_tokens), now)


def refused(gate: Gate, now: float, tokens: int = 1, output_tokens: int = 0) -> Refusal:
    refusal = admit(gate, now, tokens, output_tokens).refusal
    assert refusal is not None
    return refusal


def remaining(gate: Gate, now: float, tokens: int = 0) -> dict[str, int]:
    return {one.name: one.remaining for one in admit(gate, now, tokens).standings}


def admitted(gate: Gate, now: float, tries: int) -> int:
    return sum(admit(gate, now).admitted for _ in range(tries))


def test_no_limits_nothing_to_tell() -> None:
    assert admit(Gate(Limits()), 0.0, 10**9) == Admission()


def test_a_burst_passes_and_the_rest_waits_for_the_refill() -> None:
    gate = Gate(Limits(requests_per_minute=60, burst_s=3))
    assert [admit(gate, 100.0).admitted for _ in range(4)] == [True, True, True, False]
    assert refused(gate, 100.0).retry_after_s == pytest.approx(1.0)
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
    assert refused(gate, 0.0).retry_after_s == pytest.approx(10.0)


def test_tokens_are_charged_at_admission() -> None:
    gate = Gate(Limits(tokens_per_minute=6000, burst_s=10))
    assert admit(gate, 0.0, 900).admitted
    refusal = refused(gate, 0.0, 200, 100)
    assert (refusal.name, refusal.per_minute, refusal.used, refusal.cost) == ("tokens", 6000, 900, 300)
    assert refusal.retry_after_s == pytest.approx(2.0)


def test_what_one_limit_refuses_is_charged_by_neither() -> None:
    gate = Gate(Limits(requests_per_minute=60, tokens_per_minute=6000, burst_s=10))
    admit(gate, 0.0, 1000)
    for _ in range(20):
        assert not admit(gate, 0.0, 1000).admitted
    assert remaining(gate, 0.0) == {"requests": 8, "tokens": 0}


def test_more_than_a_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    gate = Gate(Limits(tokens_per_minute=6000, burst_s=1))
    assert admit(gate, 0.0, 600).admitted
    assert refused(gate, 0.0, 1).retry_after_s == pytest.approx(5.01)
    assert remaining(gate, 0.0, 1) == {"tokens": 0}


def test_more_than_a_minute_s_limit_never_passes() -> None:
    gate = Gate(Limits(tokens_per_minute=6000, burst_s=60))
    assert refused(gate, 0.0, 6001).retry_after_s is None
    assert admit(gate, 0.0, 6000).admitted


def test_prompts_and_answers_are_limited_apart() -> None:
    gate = Gate(Limits(input_tokens_per_minute=6000, output_tokens_per_minute=600, burst_s=10))
    assert admit(gate, 0.0, 900, 50).admitted
    assert refused(gate, 0.0, 10, 60).name == "output_tokens"
    assert refused(gate, 0.0, 200, 10).name == "input_tokens"
    assert remaining(gate, 0.0) == {"input_tokens": 100, "output_tokens": 50}
    assert refused(gate, 0.0, 1, 601).retry_after_s is None


def test_the_limit_that_takes_longest_is_named() -> None:
    gate = Gate(Limits(requests_per_minute=60, tokens_per_minute=600, burst_s=1))
    admit(gate, 0.0, 30)
    assert (refused(gate, 0.0, 10).name, refused(gate, 2.999, 10).name) == ("tokens", "tokens")


# ---------------------------------------------------------------- fixed windows


def test_a_window_admits_its_share_and_the_next_one_begins_anew() -> None:
    gate = Gate(Limits(requests_per_minute=600, request_window_s=1))
    assert admitted(gate, 7.9, 20) == 10
    assert refused(gate, 7.9).retry_after_s == pytest.approx(0.1)
    assert admitted(gate, 8.0, 20) == 10
    assert admitted(gate, 100.0, 20) == 10


def test_what_goes_beyond_a_window_counts_in_the_next() -> None:
    gate = Gate(Limits(tokens_per_minute=6000, token_window_s=10))
    assert admit(gate, 0.0, 900).admitted
    assert admit(gate, 0.0, 1500).admitted
    assert refused(gate, 0.0).retry_after_s == pytest.approx(20.0)
    assert remaining(gate, 20.0) == {"tokens": 600}


@given(
    per_minute=st.floats(1, 10_000),
    window_s=st.floats(0.1, 60),
    steps=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 50)), max_size=60),
)
def test_windows_permit_no_more_than_the_limit_in_the_long_run(
    per_minute: float, window_s: float, steps: list[tuple[float, int]]
) -> None:
    gate = Gate(Limits(tokens_per_minute=per_minute, token_window_s=window_s))
    now, spent = 0.0, [0]
    for pause_s, tokens in steps:
        now += pause_s
        if admit(gate, now, tokens).admitted:
            spent.append(tokens)
    assert sum(spent[:-1]) <= per_minute * (now + window_s) / 60 + 1e-3


@given(per_minute=st.floats(1, 10_000), window_s=st.floats(0.1, 60), costs=st.lists(st.integers(1, 50), max_size=30))
def test_who_waits_for_a_window_as_told_is_admitted(per_minute: float, window_s: float, costs: list[int]) -> None:
    gate = Gate(Limits(tokens_per_minute=per_minute, token_window_s=window_s))
    now = 1000.0
    for cost in costs:
        refusal = admit(gate, now, cost).refusal
        if refusal is not None and refusal.retry_after_s is not None:
            now += refusal.retry_after_s
            assert admit(gate, now, cost).admitted


# ---------------------------------------------------------------- changes in mid-run


@pytest.mark.parametrize("window_s", [None, 1.0])
def test_a_limit_changes_when_its_time_has_come_from_the_first_request(window_s: float | None) -> None:
    changes = (LimitChange(20, "requests", 1200), LimitChange(10, "requests", 300))
    gate = Gate(Limits(requests_per_minute=600, burst_s=1, request_window_s=window_s, changes=changes))
    per_second = [admitted(gate, 50.0 + second, 40) for second in range(25)]
    assert per_second[:10] == [10] * 10
    assert per_second[11:20] == [5] * 9
    assert per_second[21:] == [20] * 4


def test_an_empty_bucket_stays_empty_when_its_limit_changes() -> None:
    gate = Gate(Limits(requests_per_minute=60, burst_s=10, changes=(LimitChange(1, "requests", 600),)))
    assert admitted(gate, 0.0, 20) == 10
    assert admitted(gate, 1.0, 20) == 10
    assert admitted(gate, 2.0, 20) == 10


def test_a_limit_can_appear_in_mid_run() -> None:
    gate = Gate(Limits(burst_s=1, changes=(LimitChange(5, "tokens", 60),)))
    assert admit(gate, 0.0, 1000) == Admission()
    assert admitted(gate, 5.0, 3) == 1


def test_changes_are_read() -> None:
    assert change_from_text("30s:requests_per_minute=3000") == LimitChange(30, "requests", 3000)
    assert change_from_text("2m:output_tokens_per_minute=1e4") == LimitChange(120, "output_tokens", 10_000)


@pytest.mark.parametrize(
    "text", ["", "30s", "30s:rpm=3", "x:requests_per_minute=3", "-1:requests_per_minute=3", "1:requests_per_minute=x"]
)
def test_other_changes_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        change_from_text(text)


# ---------------------------------------------------------------- buckets


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
        refusal = admit(gate, now, cost).refusal
        if refusal is not None and refusal.retry_after_s is not None:
            now += refusal.retry_after_s
            assert admit(gate, now, cost).admitted
