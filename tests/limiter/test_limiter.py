from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.limiter import Limiter, Limits, Pool, Replica, Ticket, Unit, Verdict
from runner.limiter.allowance import BURST_S
from runner.limiter.demand import Metered
from runner.limiter.limiter import RAMP_PER_S, RAMP_S
from runner.limiter.pool import pause
from runner.records import Usage
from tests.support.fake_time import FakeTime, settle_down

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runner.limiter import Turn

MANY = 10**6


@dataclass
class Bench:
    """The limiter of one server on a fake clock, and tasks that queue in a pool of one for admission."""

    time: FakeTime
    limiter: Limiter
    pool: Pool
    group: anyio.abc.TaskGroup
    admitted: list[tuple[float, int]] = field(default_factory=list)
    turns: dict[int, Turn] = field(default_factory=dict)

    async def ask(self, name: int, tokens: int = 1) -> anyio.CancelScope:
        scope = anyio.CancelScope()
        self.group.start_soon(self._wait, name, tokens, scope)
        await checkpoint()
        await checkpoint()
        return scope

    async def _wait(self, name: int, tokens: int, scope: anyio.CancelScope) -> None:
        with scope:
            self.turns[name] = await self.pool.admit(0, tokens)
            self.admitted.append((self.time.now - 1000.0, name))

    def answer(self, name: int, tokens: int | None, prompt: int | None = None) -> None:
        usage = Usage(prompt_tokens=prompt, completion_tokens=tokens)
        self.pool.done(self.turns[name], Verdict.ANSWERED, usage)

    @property
    def names(self) -> list[int]:
        return [name for _, name in self.admitted]

    @property
    def times(self) -> list[float]:
        return [round(time, 5) for time, _ in self.admitted]


def pool_of(limiter: Limiter, time: FakeTime) -> Pool:
    return Pool([Replica(0, "server", limiter)], clock=time.clock, pause=time.pause)


@asynccontextmanager
async def open_bench(limits: Limits) -> AsyncIterator[Bench]:
    time = FakeTime()
    async with anyio.create_task_group() as group:
        limits = limits if limits.max_in_flight != "auto" else replace(limits, max_in_flight=MANY)
        limiter = Limiter(limits, time.clock)
        yield Bench(time, limiter, pool_of(limiter, time), group)
        group.cancel_scope.cancel()


def completes_at_once(wait: Callable[[], Awaitable[None]]) -> bool:
    """Run an awaitable without an event loop: true when it never suspended."""
    steps = wait().__await__()
    try:
        next(steps)
    except StopIteration:
        return True
    return False


def test_without_limits_admission_never_suspends() -> None:
    limiter = Limiter(Limits(max_in_flight=MANY))
    pool = Pool([Replica(0, "server", limiter)])
    assert all(completes_at_once(lambda: pool.admit(10**9)) for _ in range(1000))
    seen, statistics = pool.statistics(), limiter.statistics()
    assert (seen.admitted, seen.in_flight, seen.waiting, seen.waited_s) == (1000, 1000, 0, 0.0)
    assert statistics.requests_per_minute is statistics.tokens_per_minute is statistics.measured_per_minute is None


def test_what_conforms_is_admitted_without_suspending() -> None:
    time = FakeTime()
    limiter = Limiter(Limits(max_in_flight=MANY, requests_per_minute=60 * 10 / BURST_S), time.clock)
    pool = pool_of(limiter, time)
    assert all(completes_at_once(lambda: pool.admit(1)) for _ in range(10))
    assert pool.try_admit(1) is None


@pytest.mark.asyncio
async def test_a_backlog_is_paced_in_order() -> None:
    async with open_bench(Limits(requests_per_minute=120.0)) as bench:
        for name in range(6):
            await bench.ask(name)
        await bench.time.advance(10.0)
        assert bench.names == list(range(6))
        assert bench.times == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
        statistics = bench.pool.statistics()
        assert (statistics.admitted, statistics.waiting, statistics.waited_s) == (6, 0, 7.5)
        assert bench.limiter.statistics().requests_per_minute == 120.0


@pytest.mark.asyncio
async def test_the_first_sleeps_exactly_what_is_missing_and_the_others_not_at_all() -> None:
    async with open_bench(Limits(requests_per_minute=60.0)) as bench:
        for name in range(4):
            await bench.ask(name)
        assert bench.time.sleeps == pytest.approx([1.0])
        assert bench.pool.statistics().waiting == 3
        await bench.time.advance(1.0)
        assert bench.time.sleeps == pytest.approx([1.0, 1.0])


@pytest.mark.asyncio
async def test_requests_and_tokens_are_charged_together_or_not_at_all() -> None:
    async with open_bench(Limits(requests_per_minute=60.0, tokens_per_minute=600.0)) as bench:
        await bench.ask(0, tokens=40)
        await bench.ask(1, tokens=10)
        await bench.time.advance(2.0)
        assert bench.names == [0]
        # Tokens keep 1 for 4 s; had it been charged a request meanwhile, 2 would come a second later than 1.
        await bench.time.advance(2.0)
        await bench.ask(2, tokens=0)
        await bench.time.advance(0.9)
        assert bench.names == [0, 1]
        await bench.time.advance(0.2)
        assert list(zip(bench.times, bench.names, strict=True)) == [(0.0, 0), (4.0, 1), (5.0, 2)]


@pytest.mark.asyncio
async def test_a_small_request_does_not_overtake_a_large_one() -> None:
    async with open_bench(Limits(tokens_per_minute=600.0)) as bench:
        await bench.ask(0, tokens=10)
        await bench.ask(1, tokens=1000)
        await bench.ask(2, tokens=0)
        await bench.time.advance(0.5)
        assert bench.names == [0]
        await bench.time.advance(200.0)
        assert bench.names == [0, 1, 2]


@pytest.mark.asyncio
async def test_a_refund_wakes_the_first_early() -> None:
    async with open_bench(Limits(tokens_per_minute=600.0)) as bench:
        await bench.ask(0, tokens=100)
        await bench.ask(1, tokens=10)
        await bench.ask(2, tokens=10)
        await bench.time.advance(3.0)
        assert bench.names == [0]
        bench.answer(0, 30)
        await settle_down()
        assert bench.names == [0, 1]
        await bench.time.advance(1.0)
        assert bench.times == [0.0, 3.0, 4.0]


@pytest.mark.asyncio
async def test_a_refund_that_is_not_enough_changes_only_the_wait() -> None:
    async with open_bench(Limits(tokens_per_minute=600.0)) as bench:
        await bench.ask(0, tokens=100)
        await bench.ask(1, tokens=10)
        bench.answer(0, 60)
        await bench.time.advance(20.0)
        assert bench.times == [0.0, 6.0]


@pytest.mark.asyncio
async def test_more_tokens_than_reserved_become_a_debt() -> None:
    async with open_bench(Limits(tokens_per_minute=600.0)) as bench:
        await bench.ask(0, tokens=10)
        bench.answer(0, 40)
        await bench.ask(1, tokens=10)
        await bench.time.advance(20.0)
        assert bench.times == [0.0, 4.0]


@pytest.mark.asyncio
async def test_an_unknown_count_keeps_the_reserve() -> None:
    async with open_bench(Limits(tokens_per_minute=600.0)) as bench:
        await bench.ask(0, tokens=40)
        bench.answer(0, None)
        await bench.ask(1, tokens=10)
        await bench.time.advance(20.0)
        assert bench.times == [0.0, 4.0]


@pytest.mark.asyncio
async def test_a_nonsensical_count_costs_a_minute_at_most() -> None:
    async with open_bench(Limits(tokens_per_minute=600.0)) as bench:
        await bench.ask(0, tokens=10)
        bench.answer(0, 10**6)
        await bench.ask(1, tokens=10)
        await bench.time.advance(100.0)
        assert bench.times == [0.0, 61.0]


@pytest.mark.asyncio
async def test_input_and_output_tokens_have_limits_of_their_own() -> None:
    limits = Limits(input_tokens_per_minute=6000.0, output_tokens_per_minute=600.0)
    async with open_bench(limits) as bench:
        await bench.ask(0, tokens=100)
        await bench.ask(1, tokens=1)
        bench.answer(0, 10, prompt=300)  # 90 go back to the limit of answers; that of prompts lacks 300
        await settle_down()
        assert bench.names == [0]
        await bench.time.advance(10.0)
        assert bench.times == [0.0, 3.0 - BURST_S]  # what the bucket holds need not be there
        statistics = bench.limiter.statistics()
        assert statistics.input_tokens_per_minute == 6000.0
        assert statistics.output_tokens_per_minute == 600.0


@pytest.mark.asyncio
async def test_where_a_server_refuses_what_was_given_back_nothing_more_is_given_back() -> None:
    async with open_bench(Limits(tokens_per_minute=600.0)) as bench:
        for name in range(3):
            await bench.ask(name, tokens=10)
        bench.answer(0, 0)
        await bench.time.advance(10.0)
        bench.pool.done(bench.turns[1], Verdict.REFUSED)
        bench.answer(2, 0)
        await bench.ask(3, tokens=100)
        await bench.ask(4, tokens=1)
        await bench.time.advance(100.0)
        assert bench.times[-1] - bench.times[-2] == pytest.approx(100 / 10 + 1 / 10 - BURST_S)


@pytest.mark.asyncio
async def test_no_more_are_under_way_than_allowed() -> None:
    async with open_bench(Limits(max_in_flight=2)) as bench:
        for name in range(4):
            await bench.ask(name)
        assert bench.names == [0, 1]
        bench.pool.done(bench.turns[0], Verdict.FAILED)
        await settle_down()
        assert bench.names == [0, 1, 2]
        assert bench.limiter.statistics().in_flight == 2
        bench.pool.change(Limits(max_in_flight=3))
        await settle_down()
        assert bench.names == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_the_next_request_in_the_place_of_one_needs_no_other_place() -> None:
    async with open_bench(Limits(max_in_flight=1, requests_per_minute=60.0)) as bench:
        await bench.ask(0)
        bench.group.start_soon(bench.pool.admit_next, bench.turns[0], 1)
        await bench.time.advance(1.5)
        statistics = bench.pool.statistics()
        assert (statistics.admitted, statistics.in_flight, statistics.waiting) == (2, 1, 0)


@pytest.mark.asyncio
async def test_a_pause_holds_everyone_until_it_ends() -> None:
    async with open_bench(Limits()) as bench:
        bench.pool.pause()
        await bench.ask(0)
        await bench.time.advance(100.0)
        bench.pool.pause()  # once is enough
        await bench.time.advance(50.0)
        assert bench.names == []
        assert (bench.pool.statistics().paused, bench.pool.statistics().paused_s) == (True, 150.0)
        bench.pool.unpause()
        bench.pool.unpause()
        await settle_down()
        assert bench.names == [0]
        await bench.time.advance(5.0)
        assert (bench.pool.statistics().paused, bench.pool.statistics().paused_s) == (False, 150.0)


@pytest.mark.asyncio
async def test_a_pause_saves_nothing_up() -> None:
    async with open_bench(Limits(requests_per_minute=600.0)) as bench:
        for name in range(40):
            await bench.ask(name)
        await bench.time.advance(1.0)
        before = len(bench.names)
        bench.pool.pause()
        await bench.time.advance(3600.0)
        assert len(bench.names) == before
        bench.pool.unpause()
        await bench.time.advance(1.0)
        assert len(bench.names) - before <= 10 * (1.0 + BURST_S) + 1


@pytest.mark.asyncio
async def test_the_wait_for_another_request_is_told() -> None:
    async with open_bench(Limits(max_in_flight=1)) as bench:
        await bench.ask(0)
        bench.pool.pause()
        waited: list[float] = []

        async def go_on() -> None:
            waited.append(await bench.pool.admit_next(bench.turns[0], 1))

        bench.group.start_soon(go_on)
        await bench.time.advance(30.0)
        bench.pool.unpause()
        await settle_down()
        assert waited == [30.0]


@pytest.mark.asyncio
async def test_limits_that_are_changed_hold_at_once() -> None:
    async with open_bench(Limits(requests_per_minute=1.0)) as bench:
        await bench.ask(0)
        await bench.ask(1)
        bench.pool.change(Limits(max_in_flight=MANY, requests_per_minute=60.0))
        await bench.time.advance(70.0)
        assert bench.names == [0, 1]
        await bench.ask(2)
        await bench.ask(3)
        await bench.time.advance(70.0)
        assert bench.times[3] - bench.times[2] == pytest.approx(1.0)


@pytest.mark.asyncio
async def test_limits_that_a_server_tells_hold_and_the_configs_if_it_is_lower() -> None:
    told = {"x-ratelimit-limit-requests": "120", "x-ratelimit-remaining-requests": "100"}
    for typed, expected in ((None, 120.0), (60.0, 60.0), (600.0, 120.0)):
        limiter = Limiter(Limits(requests_per_minute=typed), FakeTime().clock)
        ticket = limiter.ask(1)
        assert isinstance(ticket, Ticket)
        limiter.done(ticket, Verdict.ANSWERED, headers=told)
        assert limiter.statistics().requests_per_minute == expected


@pytest.mark.asyncio
async def test_what_a_server_says_is_left_is_an_upper_bound() -> None:
    async with open_bench(Limits(requests_per_minute=600.0)) as bench:
        await bench.ask(0)
        await bench.time.advance(10.0)
        left = {"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "0"}
        turn = bench.pool.try_admit(0)
        assert turn is not None
        bench.pool.done(turn, Verdict.ANSWERED, headers=left)
        await bench.ask(1)
        assert bench.names == [0]
        await bench.time.advance(1.0)
        assert bench.times == [0.0, 10.1]


@pytest.mark.asyncio
async def test_prompts_are_reserved_as_servers_counted_them() -> None:
    async with open_bench(Limits(tokens_per_minute=60_000.0)) as bench:
        for _ in range(50):
            turn = await bench.pool.admit(100, 0)
            bench.pool.done(turn, Verdict.ANSWERED, Usage(prompt_tokens=150, completion_tokens=7))
            bench.time.now += 1.0
        assert (await bench.pool.admit(100, 0)).ticket.prompt_tokens == pytest.approx(150, abs=2)
        bench.time.now += 1.0
        assert (await bench.pool.admit(0, None)).ticket.answer_tokens == pytest.approx(7 * 1.5, abs=1)


def test_without_any_limit_the_start_is_slow_and_few_are_under_way() -> None:
    time = FakeTime()
    limiter = Limiter(Limits(), time.clock)
    said = [limiter.ask(1) for _ in range(100)]
    assert 1 <= sum(isinstance(one, Ticket) for one in said) <= 8


@pytest.mark.asyncio
async def test_a_freeze_holds_everyone_and_is_never_shortened() -> None:
    async with open_bench(Limits(requests_per_minute=60.0)) as bench:
        bench.limiter.freeze(bench.time.now + 30.0)
        bench.limiter.freeze(bench.time.now + 5.0)
        bench.limiter.freeze(math.nan)
        await bench.ask(0)
        await bench.ask(1)
        assert bench.limiter.statistics().frozen_for_s == 30.0
        await bench.time.advance(29.9)
        assert bench.names == []
        await bench.time.advance(10.0)
        assert bench.times == [30.0, 31.0]
        assert bench.limiter.statistics().frozen_for_s == 0.0


@pytest.mark.asyncio
async def test_a_freeze_reaches_those_who_already_wait() -> None:
    async with open_bench(Limits(requests_per_minute=60.0)) as bench:
        await bench.ask(0)
        await bench.ask(1)
        bench.limiter.freeze(bench.time.now + 10.0)
        await bench.time.advance(20.0)
        assert bench.times == [0.0, 10.0]


@pytest.mark.asyncio
async def test_without_a_request_limit_a_freeze_ends_in_a_ramp() -> None:
    async with open_bench(Limits()) as bench:
        bench.limiter.freeze(bench.time.now + 10.0)
        for name in range(5):
            await bench.ask(name)
        await bench.time.advance(10.0 + 0.5 * RAMP_S)
        assert bench.names == [0, 1, 2, 3, 4]
        assert bench.times == pytest.approx([10.0 + name / RAMP_PER_S for name in range(5)])


@pytest.mark.asyncio
async def test_after_the_ramp_nothing_holds_anyone() -> None:
    async with open_bench(Limits()) as bench:
        bench.limiter.freeze(bench.time.now + 10.0)
        await bench.time.advance(10.0 + RAMP_S)
        for _ in range(500):
            await bench.pool.admit(1)
        assert bench.time.sleeps == []
        assert completes_at_once(lambda: bench.pool.admit(1))


@pytest.mark.asyncio
async def test_a_cancelled_waiter_charges_nothing_and_the_queue_goes_on() -> None:
    async with open_bench(Limits(requests_per_minute=60.0)) as bench:
        await bench.ask(0)
        first = await bench.ask(1)
        middle = await bench.ask(2)
        await bench.ask(3)
        await bench.time.advance(0.5)
        first.cancel()
        middle.cancel()
        await settle_down()
        assert bench.pool.statistics().waiting == 1
        await bench.time.advance(10.0)
        assert list(zip(bench.times, bench.names, strict=True)) == [(0.0, 0), (1.0, 3)]
        assert bench.limiter.statistics().admitted == 2


@pytest.mark.asyncio
async def test_a_waiter_cancelled_while_it_is_woken_passes_the_turn_on() -> None:
    async with open_bench(Limits(tokens_per_minute=600.0)) as bench:
        await bench.ask(0, tokens=1000)
        woken = await bench.ask(1, tokens=10)
        await bench.ask(2, tokens=10)
        woken.cancel()
        bench.answer(0, 0)
        await settle_down()
        assert bench.names == [0, 2]


@pytest.mark.asyncio
async def test_a_long_sleep_of_the_machine_brings_no_burst() -> None:
    async with open_bench(Limits(requests_per_minute=600.0)) as bench:
        for name in range(40):
            await bench.ask(name)
        # The clock jumps while the sleeper's timer is still running, as after SIGCONT.
        bench.time.now += 3600.0
        await bench.time.advance(0.0)
        burst = 600 * BURST_S / 60
        assert len(bench.names) == 2 * int(burst)
        await bench.time.advance(1.0)
        assert len(bench.names) <= 2 * burst + 10 + 1


@pytest.mark.asyncio
async def test_the_real_pause_ends_by_its_time_or_by_the_event() -> None:
    await pause(anyio.Event(), 0.0)
    wake = anyio.Event()
    wake.set()
    await pause(wake, math.inf)
    assert wake.is_set()


@dataclass(frozen=True)
class Ask:
    after_s: float
    tokens: int
    cancel_after_s: float | None
    used: int | None


asks = st.builds(
    Ask,
    after_s=st.sampled_from([0.0, 0.0, 0.1, 1.0, 7.5]),
    tokens=st.integers(0, 200),
    cancel_after_s=st.sampled_from([None, None, None, 0.0, 0.3, 5.0]),
    used=st.none() | st.integers(0, 250),
)


@given(
    requests_per_minute=st.sampled_from([None, 30.0, 600.0]),
    tokens_per_minute=st.sampled_from([None, 300.0, 6000.0]),
    asked=st.lists(asks, min_size=1, max_size=20),
    freezes=st.lists(st.tuples(st.integers(0, 19), st.floats(0.0, 20.0)), max_size=2),
)
@settings(deadline=None, max_examples=60)
def test_order_limits_and_progress_hold_for_any_crowd(
    requests_per_minute: float | None,
    tokens_per_minute: float | None,
    asked: list[Ask],
    freezes: list[tuple[int, float]],
) -> None:
    limits = Limits(requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute)
    anyio.run(crowd, limits, asked, dict(freezes))


async def crowd(limits: Limits, asked: list[Ask], freezes: dict[int, float]) -> None:
    async with open_bench(limits) as bench:
        frozen: list[tuple[float, float]] = []
        cancelled = set()
        for name, ask in enumerate(asked):
            await bench.time.advance(ask.after_s)
            if name in freezes:
                bench.limiter.freeze(bench.time.now + freezes[name])
                frozen.append((bench.time.now - 1000.0, bench.time.now - 1000.0 + freezes[name]))
            scope = await bench.ask(name, ask.tokens)
            if ask.cancel_after_s is not None:
                await bench.time.advance(ask.cancel_after_s)
                if name not in bench.names:
                    cancelled.add(name)
                scope.cancel()
                await settle_down()
            elif name in bench.names:
                bench.answer(name, ask.used)
        await bench.time.advance(10_000.0)
        # Everyone who was not cancelled got through, in the order of asking, and nobody during a freeze.
        assert bench.names == [name for name in range(len(asked)) if name not in cancelled]
        assert not [1 for time, _ in bench.admitted for since, until in frozen if since < time < until - 1e-5]
        statistics = bench.pool.statistics()
        assert (statistics.admitted, statistics.waiting) == (len(bench.names), 0)
        if limits.requests_per_minute is not None:
            rate = limits.requests_per_minute / 60.0
            for end, until in enumerate(bench.times):
                for start, since in enumerate(bench.times[: end + 1]):
                    assert end - start + 1 <= max(1.0, BURST_S * rate) + rate * (until - since) + 1e-3


def test_a_share_is_that_part_of_the_rate_and_of_its_burst() -> None:
    time = FakeTime()
    limiter = Limiter(Limits(max_in_flight=MANY, requests_per_minute=60 * 10 / BURST_S), time.clock)
    limiter.share({Unit.REQUESTS: 0.5})
    assert limiter.statistics().requests_per_minute == 30 * 10 / BURST_S
    assert admitted_at_once(limiter) == 5
    time.now += BURST_S
    assert admitted_at_once(limiter) == 5


def test_a_share_that_grows_gives_nothing_back_and_one_that_shrinks_keeps_what_fits() -> None:
    time = FakeTime()
    limiter = Limiter(Limits(max_in_flight=MANY, requests_per_minute=60 * 10 / BURST_S), time.clock)
    limiter.share({Unit.REQUESTS: 0.5})
    assert admitted_at_once(limiter) == 5
    limiter.share({Unit.REQUESTS: 1.0})
    assert admitted_at_once(limiter) == 0
    time.now += BURST_S
    limiter.share({Unit.REQUESTS: 0.2})
    assert admitted_at_once(limiter) == 2


def test_what_the_server_tells_is_shared_too() -> None:
    limiter = Limiter(Limits(max_in_flight=MANY), FakeTime().clock)
    limiter.share({Unit.REQUESTS: 0.25})
    assert limiter.metered() == {}
    ticket = limiter.ask(0)
    assert isinstance(ticket, Ticket)
    limiter.done(ticket, Verdict.ANSWERED, headers={"x-ratelimit-limit-requests": "6000"})
    assert limiter.statistics().requests_per_minute == 1_500
    assert limiter.metered() == {Unit.REQUESTS: Metered(6_000.0, 1_500.0, 0.0)}


def test_of_what_the_server_says_is_left_a_share_counts() -> None:
    limiter = Limiter(Limits(max_in_flight=MANY, requests_per_minute=60 * 40 / BURST_S), FakeTime().clock)
    limiter.share({Unit.REQUESTS: 0.5})
    ticket = limiter.ask(0)
    assert isinstance(ticket, Ticket)
    headers = {"x-ratelimit-limit-requests": str(60 * 40 / BURST_S), "x-ratelimit-remaining-requests": "12"}
    limiter.done(ticket, Verdict.ANSWERED, headers=headers)
    assert admitted_at_once(limiter) == 6


@pytest.mark.asyncio
async def test_without_a_share_nothing_goes_and_a_share_wakes_who_waits() -> None:
    async with open_bench(Limits(requests_per_minute=60 * 10 / BURST_S)) as bench:
        bench.pool.share(bench.pool.replicas[0], {Unit.REQUESTS: 0.0})
        await bench.ask(1)
        await bench.time.advance(100.0)
        assert bench.names == []
        bench.pool.share(bench.pool.replicas[0], {Unit.REQUESTS: 0.1})
        await bench.time.advance(0.0)
        assert bench.names == [1]
        bench.pool.share(bench.pool.replicas[0], {})
        assert bench.limiter.statistics().requests_per_minute == 60 * 10 / BURST_S


@pytest.mark.asyncio
async def test_who_waits_for_a_slot_or_a_pause_does_not_wait_for_the_rate() -> None:
    async with open_bench(Limits(max_in_flight=1, requests_per_minute=60.0)) as bench:
        await bench.ask(1)
        await bench.ask(2)
        assert bench.names == [1]
        assert not bench.pool.waits_for_rate(bench.pool.replicas[0])
        bench.answer(1, None)
        await settle_down()
        assert bench.pool.waits_for_rate(bench.pool.replicas[0])
        bench.pool.pause()
        assert not bench.pool.waits_for_rate(bench.pool.replicas[0])


def admitted_at_once(limiter: Limiter) -> int:
    return sum(1 for _ in takewhile(lambda _: isinstance(limiter.ask(0), Ticket), count()))
