"""A pool asks the server with the least to do, goes around those that are out, and forgets nobody who waits."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.limiter import BreakerPolicy, Health, Limiter, Limits, Pool, Replica, Verdict, shared_limits
from tests.support.fake_time import FakeTime, settle_down

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runner.limiter import Turn

POLICY = BreakerPolicy(failures=3, first_open_s=1.0, most_open_s=8.0, give_up_s=100.0)
KEY = bytes(16)


@dataclass
class Bench:
    """A pool on a fake clock, and tasks that queue in it; `turns` are in the order of admission."""

    time: FakeTime
    pool: Pool
    group: anyio.abc.TaskGroup
    turns: list[Turn] = field(default_factory=list)
    names: list[int] = field(default_factory=list)

    async def ask(self, name: int = 0, last: Replica | None = None) -> anyio.CancelScope:
        scope = anyio.CancelScope()
        self.group.start_soon(self._wait, name, last, scope)
        await settle_down()
        return scope

    async def _wait(self, name: int, last: Replica | None, scope: anyio.CancelScope) -> None:
        with scope:
            self.turns.append(await self.pool.admit(1, last=last))
            self.names.append(name)

    def answer(self, turn: Turn) -> None:
        self.pool.done(turn, Verdict.ANSWERED)

    def fail(self, turn: Turn, health: Health = Health.DOWN, *, reached: bool = True) -> None:
        self.pool.fail(turn, health, KEY, reached=reached)
        self.pool.done(turn, Verdict.FAILED)

    def shut(self, number: int) -> None:
        """Let a server's breaker open."""
        replica = self.pool.replicas[number]
        for _ in range(POLICY.failures):
            replica.breaker.fail(self.time.now, 0, None, POLICY, random=0.0)

    @property
    def servers(self) -> list[int]:
        return [turn.replica.number for turn in self.turns]


@asynccontextmanager
async def open_bench(*limits: Limits, weights: Sequence[float] = ()) -> AsyncIterator[Bench]:
    time = FakeTime()
    weights = weights or [1.0] * len(limits)
    replicas = [
        Replica(number, f"s{number}", Limiter(one, time.clock), weight)
        for number, (one, weight) in enumerate(zip(limits, weights, strict=True))
    ]
    async with anyio.create_task_group() as group:
        yield Bench(time, Pool(replicas, POLICY, clock=time.clock, pause=time.pause), group)
        group.cancel_scope.cancel()


def slots(count: int) -> Limits:
    return Limits(max_in_flight=count)


# ---------------------------------------------------------------- whom


@pytest.mark.asyncio
async def test_the_server_with_the_least_under_way_is_asked() -> None:
    async with open_bench(slots(8), slots(8), slots(8)) as bench:
        for _ in range(6):
            await bench.ask()
        assert sorted(bench.servers) == [0, 0, 1, 1, 2, 2]
        done = next(turn for turn in bench.turns if turn.replica.number == 1)
        bench.answer(done)
        await bench.ask()
        assert bench.servers[-1] == 1


@pytest.mark.asyncio
async def test_under_way_is_counted_by_weight() -> None:
    async with open_bench(slots(100), slots(100), weights=[3.0, 1.0]) as bench:
        for _ in range(40):
            await bench.ask()
        assert Counter(bench.servers) == {0: 30, 1: 10}


@pytest.mark.asyncio
async def test_one_request_at_a_time_goes_around_by_weight() -> None:
    async with open_bench(slots(8), slots(8), weights=[3.0, 1.0]) as bench:
        for _ in range(40):
            await bench.ask()
            bench.answer(bench.turns[-1])
        assert Counter(bench.servers) == {0: 30, 1: 10}


@pytest.mark.asyncio
async def test_a_server_that_comes_back_is_not_sent_what_it_missed() -> None:
    async with open_bench(slots(8), slots(8)) as bench:
        bench.shut(1)
        for _ in range(50):
            await bench.ask()
            bench.answer(bench.turns[-1])
        assert set(bench.servers) == {0}
        bench.pool.replicas[1].breaker.succeed(bench.time.now)
        for _ in range(20):
            await bench.ask()
            bench.answer(bench.turns[-1])
        assert Counter(bench.servers[50:]) == {0: 10, 1: 10}


@pytest.mark.asyncio
async def test_a_row_goes_elsewhere_after_a_failure_and_back_where_nobody_else_is() -> None:
    async with open_bench(slots(8), slots(1)) as bench:
        first, second = bench.pool.replicas
        await bench.ask(last=first)
        assert bench.servers == [1]
        await bench.ask(last=first)  # the other one is full
        assert bench.servers == [1, 0]
        await bench.ask(last=second)
        assert bench.servers == [1, 0, 0]


@pytest.mark.asyncio
async def test_a_frozen_or_full_server_holds_up_nobody() -> None:
    async with open_bench(slots(8), slots(1)) as bench:
        bench.pool.replicas[0].limiter.freeze(bench.time.now + 60.0)
        for name in range(3):
            await bench.ask(name)
        assert bench.servers == [1]
        assert bench.pool.statistics().waiting == 2
        assert bench.pool.statistics().frozen_for_s == 0.0
        bench.answer(bench.turns[0])
        await settle_down()
        assert (bench.servers, bench.names) == ([1, 1], [0, 1])
        await bench.time.advance(60.0)
        assert (bench.servers, bench.names) == ([1, 1, 0], [0, 1, 2])


def test_requests_under_way_are_shared_by_weight_and_rates_are_not() -> None:
    limits = Limits(max_in_flight=10, requests_per_minute=60.0)
    assert [one.max_in_flight for one in shared_limits(limits, [2.0, 1.0, 0.01])] == [10, 5, 1]
    assert {one.requests_per_minute for one in shared_limits(limits, [2.0, 1.0, 0.01])} == {60.0}
    assert shared_limits(Limits(), [2.0, 1.0]) == [Limits(), Limits()]


# ---------------------------------------------------------------- servers that are out


@pytest.mark.asyncio
async def test_a_server_that_is_out_gets_one_probe_when_its_time_has_come() -> None:
    async with open_bench(slots(8), slots(1)) as bench:
        bench.shut(0)
        for name in range(4):
            await bench.ask(name)
        assert bench.servers == [1]
        await bench.time.advance(1.0)
        assert bench.servers == [1, 0]
        assert bench.turns[-1].probe
        bench.fail(bench.turns[-1])
        await bench.time.advance(1.5)  # chance takes a fifth off the 2 s at most
        assert bench.servers == [1, 0]
        await bench.time.advance(0.5)
        assert bench.servers == [1, 0, 0]
        bench.answer(bench.turns[-1])
        await settle_down()
        assert bench.servers == [1, 0, 0, 0]
        assert bench.pool.statistics().out == ()


@pytest.mark.asyncio
async def test_a_probe_that_ends_without_a_word_lets_the_next_one_go() -> None:
    async with open_bench(slots(8)) as bench:
        bench.shut(0)
        await bench.ask(0)
        await bench.ask(1)
        await bench.time.advance(1.0)
        assert bench.names == [0]
        bench.fail(bench.turns[0], Health.UNKNOWN)
        await settle_down()
        assert bench.names == [0, 1]


@pytest.mark.asyncio
async def test_a_refusal_shows_that_the_server_is_there() -> None:
    async with open_bench(slots(8)) as bench:
        bench.shut(0)
        await bench.ask(0)
        await bench.ask(1)
        await bench.time.advance(1.0)
        bench.pool.fail(bench.turns[0], Health.SOUND, KEY)
        bench.pool.done(bench.turns[0], Verdict.REFUSED)
        assert not bench.pool.replicas[0].out


@pytest.mark.asyncio
async def test_ten_minutes_of_503_get_two_requests_a_minute_at_most() -> None:
    time = FakeTime()
    replica = Replica(0, "s", Limiter(slots(64), time.clock))
    sent: list[float] = []
    async with anyio.create_task_group() as group:
        pool = Pool([replica], BreakerPolicy(), clock=time.clock, pause=time.pause)

        async def work() -> None:
            while True:
                turn = await pool.admit(1)
                sent.append(time.now - 1000.0)
                await checkpoint()
                if sent[-1] < 600.0:
                    pool.fail(turn, Health.DOWN, KEY)
                    pool.done(turn, Verdict.OVERLOADED)
                else:
                    pool.done(turn, Verdict.ANSWERED)
                    return

        for _ in range(64):
            group.start_soon(work)
        await time.advance(599.9)
        opening, probes = [at for at in sent if at == 0.0], [at for at in sent if at > 0.0]
        assert len(opening) <= 64 + BreakerPolicy().failures
        assert len(probes) <= 2 * 10
        assert pool.out_for_s() == pytest.approx(599.9)
        await time.advance(60.1)
        assert len(sent) == len(opening) + len(probes) + 64  # all of them, as soon as one probe is answered
        assert pool.out_for_s() == 0.0


@pytest.mark.asyncio
async def test_an_outage_does_not_teach_how_much_a_server_serves_at_once() -> None:
    async with open_bench(Limits()) as bench:
        (replica,) = bench.pool.replicas
        before = replica.limiter.slots
        bench.shut(0)
        for _ in range(20):
            await bench.ask()
            await bench.time.advance(POLICY.most_open_s)
            bench.pool.fail(bench.turns[-1], Health.DOWN, KEY)
            bench.pool.done(bench.turns[-1], Verdict.OVERLOADED)
        assert len(bench.turns) == 20
        assert replica.limiter.slots == before


@pytest.mark.asyncio
async def test_all_are_out_only_when_each_is() -> None:
    async with open_bench(slots(8), slots(8)) as bench:
        bench.shut(0)
        await bench.time.advance(5.0)
        assert bench.pool.out_for_s() == 0.0
        bench.shut(1)
        await bench.time.advance(3.0)
        assert bench.pool.out_for_s() == 3.0
        assert bench.pool.statistics().out == ("s0", "s1")
        assert bench.pool.slots == 1


@pytest.mark.asyncio
async def test_a_pause_is_no_time_that_servers_are_out() -> None:
    async with open_bench(slots(8), slots(8)) as bench:
        bench.shut(0)
        await bench.time.advance(3.0)
        bench.pool.pause()
        await bench.time.advance(1800.0)
        bench.shut(1)  # by what was under way
        await bench.time.advance(1800.0)
        bench.pool.unpause()
        await bench.time.advance(2.0)
        assert [one.breaker.open_for_s for one in bench.pool.statistics().servers] == [5.0, 2.0]
        assert bench.pool.out_for_s() == 2.0
        assert bench.pool.statistics().paused_s == 3600.0


def test_workers_are_those_of_the_servers_that_are_not_out() -> None:
    measured, typed = Limiter(Limits()), Limiter(slots(5))
    pool = Pool([Replica(0, "s0", measured), Replica(1, "s1", typed)], POLICY)
    assert pool.slots == measured.slots + 5
    assert pool.workers == measured.workers + 5 > pool.slots
    for _ in range(POLICY.failures):
        pool.replicas[0].breaker.fail(0.0, 0, None, POLICY, random=0.0)
    assert pool.workers == 5


@pytest.mark.asyncio
async def test_nobody_is_there_when_each_refused_and_none_was_ever_reached() -> None:
    async with open_bench(slots(8), slots(8)) as bench:
        first, second = bench.pool.replicas
        await bench.ask()
        await bench.ask()
        assert not bench.pool.nobody_there(first)
        assert bench.pool.elsewhere(first)
        bench.fail(bench.turns[1], Health.UNKNOWN, reached=False)
        assert bench.pool.nobody_there(first)
        assert not bench.pool.elsewhere(first)
        assert not bench.pool.reached
        bench.fail(bench.turns[0], Health.BROKEN)
        assert not bench.pool.nobody_there(second)
        assert bench.pool.reached


# ---------------------------------------------------------------- who wakes whom


@pytest.mark.asyncio
async def test_a_pause_holds_every_server_and_its_end_wakes_the_queue() -> None:
    async with open_bench(slots(1), slots(1)) as bench:
        bench.pool.pause()
        for name in range(2):
            await bench.ask(name)
        assert bench.names == []
        bench.pool.unpause()
        await settle_down()
        assert sorted(bench.servers) == [0, 1]


@pytest.mark.asyncio
async def test_changed_limits_reach_every_server_by_its_weight() -> None:
    async with open_bench(slots(1), slots(1), weights=[2.0, 1.0]) as bench:
        for name in range(8):
            await bench.ask(name)
        assert len(bench.names) == 2
        bench.pool.change(slots(4))
        await settle_down()
        assert Counter(bench.servers) == {0: 4, 1: 2}


@pytest.mark.asyncio
async def test_the_next_request_in_the_place_of_one_stays_at_its_server_and_holds_up_nobody() -> None:
    async with open_bench(slots(1), slots(1)) as bench:
        await bench.ask(0)
        await bench.ask(1)
        turn = bench.turns[0]
        turn.replica.limiter.freeze(bench.time.now + 10.0)
        bench.group.start_soon(bench.pool.admit_next, turn, 1)
        await bench.ask(2)
        bench.answer(bench.turns[1])
        await settle_down()
        assert bench.names == [0, 1, 2]
        await bench.time.advance(10.0)
        statistics = bench.pool.statistics()
        assert (statistics.admitted, statistics.in_flight) == (4, 2)


@pytest.mark.asyncio
async def test_requests_that_go_on_in_their_places_do_not_wait_for_each_other() -> None:
    """The number of places may shrink under them."""
    async with open_bench(slots(4)) as bench:
        for name in range(4):
            await bench.ask(name)
        bench.pool.change(slots(1))
        for turn in bench.turns:
            bench.group.start_soon(bench.pool.admit_next, turn, 1)
        await settle_down()
        assert bench.pool.statistics().admitted == 8


@dataclass(frozen=True)
class Event:
    """What happens: a request comes, one under way ends in some way, one that waits is cancelled, or time goes by."""

    what: str
    which: int
    seconds: float


events = st.lists(
    st.builds(
        Event,
        st.sampled_from([*["ask"] * 3, *["answer"] * 2, "down", "broken", "lost", "freeze", "cancel", "wait"]),
        st.integers(0, 20),
        st.sampled_from([0.0, 0.5, 3.0]),
    ),
    max_size=50,
)


@given(events, st.lists(st.sampled_from([1, 2, 5]), min_size=1, max_size=3), st.sampled_from([None, 600.0]))
@settings(deadline=None, max_examples=80)
def test_everybody_gets_through_in_order_whatever_the_servers_do(
    happened: list[Event], sizes: list[int], rate: float | None
) -> None:
    anyio.run(crowd, happened, sizes, rate)


async def crowd(happened: list[Event], sizes: list[int], rate: float | None) -> None:
    limits = [Limits(max_in_flight=size, requests_per_minute=rate) for size in sizes]
    async with open_bench(*limits) as bench:
        scopes: dict[int, anyio.CancelScope] = {}
        cancelled: set[int] = set()
        ended = 0
        for event in happened:
            open_turns = bench.turns[ended:]
            if event.what == "ask":
                name = len(scopes)
                scopes[name] = await bench.ask(name, bench.pool.replicas[event.which % len(sizes)])
            elif event.what == "cancel" and (waiting := sorted(scopes.keys() - set(bench.names) - cancelled)):
                name = waiting[event.which % len(waiting)]
                scopes[name].cancel()
                cancelled.add(name)
            elif event.what == "freeze":
                bench.pool.replicas[event.which % len(sizes)].limiter.freeze(bench.time.now + event.seconds)
            elif event.what in {"answer", "down", "broken", "lost"} and open_turns:
                turn = open_turns[0]
                ended += 1
                healths = {"down": Health.DOWN, "broken": Health.BROKEN, "lost": Health.UNKNOWN}
                if event.what == "answer":
                    bench.answer(turn)
                else:
                    bench.pool.fail(turn, healths[event.what], bytes([event.which]))
                    bench.pool.done(turn, Verdict.FAILED)
            await bench.time.advance(event.seconds)
            for replica, size in zip(bench.pool.replicas, sizes, strict=True):
                assert 0 <= replica.limiter.in_flight <= size
        # From now on every server answers: whoever waits is let through, first come first served.
        for _ in range(len(scopes) + 5):
            for turn in bench.turns[ended:]:
                bench.answer(turn)
                ended += 1
            await bench.time.advance(10.0)
        assert bench.names == [name for name in scopes if name not in cancelled]
        assert bench.pool.statistics().waiting == 0
