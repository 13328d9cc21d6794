from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.folder.totals import Totals, totals_from_json

COUNTS = st.integers(0, 10**9)


@st.composite
def totals(draw: st.DrawFn) -> Totals:
    made = Totals(
        by_status=Counter(draw(st.dictionaries(st.sampled_from(["ok", "failed", "refused"]), st.integers(-5, 99)))),
        requests=draw(COUNTS),
        http_requests=draw(COUNTS),
        retries=draw(COUNTS),
        total_tokens=draw(COUNTS),
        cost_usd=float(draw(st.integers(0, 1000))),
        superseded=draw(COUNTS),
        torn_bytes=draw(COUNTS),
    )
    for latency_s in draw(st.lists(st.floats(0.0, 5000.0), max_size=5)):
        made.add_latencies([latency_s])
    return made


def plain(one: Totals) -> dict[str, Any]:
    return one.to_json()


def summed(shares: list[Totals]) -> Totals:
    whole = Totals()
    for share in shares:
        whole.add(share)
    return whole


@given(totals())
def test_json_round_trip(one: Totals) -> None:
    assert plain(totals_from_json(orjson.loads(orjson.dumps(one.to_json())))) == plain(one)


@given(st.lists(totals(), max_size=5), st.randoms(use_true_random=False))
def test_a_sum_does_not_depend_on_the_order(shares: list[Totals], random: Any) -> None:
    expected = plain(summed(shares))
    random.shuffle(shares)
    assert plain(summed(shares)) == expected
    assert expected["requests"] == sum(share.requests for share in shares)


def test_counts_that_come_to_zero_are_left_out() -> None:
    one = Totals(by_status=Counter(ok=2, failed=1))
    one.add(Totals(by_status=Counter(failed=-1)))
    assert one.to_json()["by_status"] == {"ok": 2}


def test_counters_of_a_later_version_are_ignored() -> None:
    assert totals_from_json({"requests": 3, "invented_later": 9, "by_status": {"ok": 3}}).requests == 3


@given(st.lists(st.floats(0.001, 3600.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_exact_to_two_and_a_half_percent(latencies: list[float], fraction: float) -> None:
    one = Totals()
    for latency_s in latencies:
        one.add_latencies([latency_s])
    rank = next(n for n in range(1, len(latencies) + 1) if n >= fraction * len(latencies))
    exact = sorted(latencies)[rank - 1]
    assert one.percentile(fraction) == pytest.approx(exact, rel=0.025)


def test_percentiles_are_the_same_whatever_the_sessions() -> None:
    latencies = [0.01 * number for number in range(1, 400)]
    whole, halves = Totals(), [Totals(), Totals()]
    for number, latency_s in enumerate(latencies):
        whole.add_latencies([latency_s])
        halves[number % 2].add_latencies([latency_s])
    together = summed(halves)
    assert [together.percentile(q) for q in (0.5, 0.95, 0.99)] == [whole.percentile(q) for q in (0.5, 0.95, 0.99)]


def test_no_latency_no_percentile_and_a_latency_of_zero_is_no_error() -> None:
    one = Totals()
    assert one.percentile(0.5) is None
    one.add_latencies([0.0])
    assert one.percentile(0.5) == pytest.approx(1e-6, abs=1e-6)


def test_cost_is_null_unless_every_answer_has_a_price() -> None:
    assert Totals().cost is None
    assert Totals(priced=2, cost_usd=0.5).cost == 0.5
    assert Totals(priced=2, cost_usd=0.0).cost == 0.0
    assert Totals(priced=2, unpriced=1, cost_usd=0.5).cost is None
