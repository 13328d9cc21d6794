from __future__ import annotations

from dataclasses import replace

import pytest

from runner.awake import awake_s
from runner.limiter import PoolStatistics
from runner.pipeline.sending.counters import Counters, snapshot_of
from runner.pipeline.sending.sessionplan import Work
from runner.prices import Price
from runner.records import Usage

PRICE = Price(input=1.0, output=2.0)
USED = Usage(prompt_tokens=1_000_000, completion_tokens=500_000, total_tokens=1_500_000)
WORK = Work(iter(()), cases=10, already_done=5)
SERVERS = PoolStatistics(
    admitted=9,
    waiting=0,
    in_flight=2,
    max_in_flight=8,
    frozen_for_s=1.5,
    paused=False,
    paused_s=0.0,
    waited_s=0.0,
    out=("s1",),
    servers=(),
)


def test_an_answer_is_counted_with_what_it_used() -> None:
    counters = Counters(PRICE)
    assert counters.last_answer_at == 0.0
    counters.note_answer(USED)
    counters.note_answer(USED)
    assert (counters.answered, counters.tokens, counters.unpriced) == (2, 3_000_000, 0)
    assert counters.cost_usd == pytest.approx(4.0)
    assert counters.last_answer_at >= counters.begun


def test_one_answer_of_unknown_cost_makes_the_cost_unknown() -> None:
    counters = Counters(PRICE)
    counters.note_answer(USED)
    assert snapshot_of(counters, WORK, waiting=0, servers=SERVERS).cost_usd == pytest.approx(2.0)
    counters.note_answer(Usage())
    assert snapshot_of(counters, WORK, waiting=0, servers=SERVERS).cost_usd is None
    assert snapshot_of(Counters(None), WORK, waiting=0, servers=SERVERS).cost_usd is None


@pytest.mark.parametrize(("status", "counted"), [(429, 1), (503, 0), (None, 0)])
def test_only_too_many_requests_counts_as_a_rate_limit(status: int | None, counted: int) -> None:
    counters = Counters()
    counters.note_failure(status)
    assert counters.rate_limited == counted


@pytest.mark.parametrize(("ended", "added", "done", "total"), [(0, 0, 5, 15), (4, 3, 9, 18), (12, 0, 17, 17)])
def test_done_never_exceeds_the_total(ended: int, added: int, done: int, total: int) -> None:
    snapshot = snapshot_of(Counters(ended=ended, added=added), WORK, waiting=2, servers=SERVERS)
    assert (snapshot.done, snapshot.total, snapshot.already_done) == (done, total, 5)
    assert (snapshot.waiting, snapshot.frozen_for_s, snapshot.out) == (2, 1.5, ("s1",))


def test_a_pause_is_left_out_of_the_time() -> None:
    counters = Counters(begun=awake_s() - 100.0)
    snapshot = snapshot_of(counters, WORK, waiting=0, servers=replace(SERVERS, paused=True, paused_s=60.0))
    assert snapshot.paused
    assert snapshot.elapsed_s == pytest.approx(40.0, abs=20.0)
