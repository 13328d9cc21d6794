"""Owns rows on their way: waits, the budget that defers them, the reader that waits for room, and the end."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

from runner.awake import awake_s
from runner.pipeline.sending.backlog import Backlog, Pending
from runner.records import Request
from runner.retry import RetryBudget


def pending(name: str) -> Pending:
    return Pending(Request(name.encode(), "/", b"", (), 1, 0), 0.0, 0.0)


def name(one: Pending | None) -> str | None:
    return one.request.key.decode() if one else None


@pytest.mark.asyncio
async def test_rows_come_back_in_the_order_of_their_waits() -> None:
    backlog = Backlog(bound=10)
    for number, wait_s in enumerate([-1.0, -3.0, -2.0, -2.0]):
        await backlog.add(1)
        backlog.postpone(pending(str(number)), wait_s)
    assert backlog.waiting == 4
    assert [name(await backlog.next_due()) for _ in range(4)] == ["1", "2", "3", "0"]
    assert backlog.waiting == 0


@pytest.mark.asyncio
async def test_a_row_is_ready_when_its_wait_ends_and_not_when_somebody_takes_it() -> None:
    """Else a pause would count against the deadlines of rows that nobody takes."""
    backlog = Backlog(bound=10)
    await backlog.add(1)
    backlog.postpone(pending("one"), -60.0)
    due = await backlog.next_due()
    assert due is not None
    assert 60.0 <= awake_s() - due.ready_at < 120.0


@pytest.mark.asyncio
async def test_a_row_that_becomes_due_sooner_overtakes_one_that_is_waited_for() -> None:
    backlog = Backlog(bound=10)
    await backlog.add(1)
    await backlog.add(1)
    backlog.postpone(pending("later"), 3600.0)
    due: list[str | None] = []

    async def take() -> None:
        due.append(name(await backlog.next_due()))

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await wait_all_tasks_blocked()
        assert due == []
        backlog.postpone(pending("now"), 0.0)
    assert due == ["now"]
    assert backlog.waiting == 1


@pytest.mark.asyncio
async def test_the_reader_waits_while_too_many_rows_wait() -> None:
    backlog = Backlog(bound=2)
    for number in range(2):
        await backlog.add(1)
        backlog.postpone(pending(str(number)), -1.0)
    added = False

    async def add() -> None:
        nonlocal added
        await backlog.add(1)
        added = True

    async with anyio.create_task_group() as group:
        group.start_soon(add)
        await wait_all_tasks_blocked()
        assert not added
        assert name(await backlog.next_due()) == "0"
    assert added


@pytest.mark.asyncio
async def test_it_is_finished_when_the_reader_is_through_and_every_row_ended() -> None:
    backlog = Backlog(bound=2)
    assert not backlog.finished
    await backlog.add(1)
    await backlog.add(1)
    backlog.end(1)
    backlog.end_reading()
    assert not backlog.finished
    ended: list[Pending | None] = []

    async def take() -> None:
        ended.append(await backlog.next_due())

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await wait_all_tasks_blocked()
        assert ended == []
        backlog.end(1)
    assert ended == [None]
    assert backlog.finished


@pytest.mark.asyncio
async def test_an_empty_dataset_is_finished_at_once() -> None:
    backlog = Backlog(bound=1)
    backlog.end_reading()
    assert await backlog.next_due() is None


@pytest.mark.asyncio
async def test_the_reader_waits_while_the_bodies_of_open_rows_take_too_much() -> None:
    backlog = Backlog(bound=100, most_bytes=10)
    await backlog.add(4)
    await backlog.add(6)
    added: list[int] = []

    async def add(body_bytes: int) -> None:
        await backlog.add(body_bytes)
        added.append(body_bytes)

    async with anyio.create_task_group() as group:
        group.start_soon(add, 5)
        await wait_all_tasks_blocked()
        assert added == []
        backlog.end(4)
        await wait_all_tasks_blocked()
        assert added == [], "6 + 5 bytes are more than 10"
        backlog.end(6)
        await wait_all_tasks_blocked()
        assert added == [5]
        group.start_soon(add, 11)
        await wait_all_tasks_blocked()
        assert added == [5]
        backlog.end(5)
    assert added == [5, 11], "a body that is larger than the bound goes by itself"
    backlog.end(11)
    backlog.end_reading()
    assert backlog.finished


@pytest.mark.asyncio
async def test_a_row_that_waits_for_its_next_attempt_still_takes_its_bytes() -> None:
    backlog = Backlog(bound=100, most_bytes=10)
    await backlog.add(10)
    backlog.postpone(pending("a"), -1.0)
    async with anyio.create_task_group() as group:
        group.start_soon(backlog.add, 1)
        await wait_all_tasks_blocked()
        assert name(await backlog.next_due()) == "a"
        await wait_all_tasks_blocked()
        assert backlog._open_rows == 1
        backlog.end(10)
    assert backlog._open_rows == 1


# ---------------------------------------------------------------- the retry budget


def spent() -> RetryBudget:
    budget = RetryBudget()
    budget.in_hand = 0.0
    return budget


async def deferred(backlog: Backlog, *names: str) -> None:
    """Let rows become due that the budget does not let go."""
    for one in names:
        await backlog.add(1)
        backlog.postpone(pending(one), -1.0, cost=1.0)


@pytest.mark.asyncio
async def test_an_empty_budget_defers_rows_until_answers_fill_it() -> None:
    backlog = Backlog(bound=10, budget=spent())
    await deferred(backlog, "first", "second")
    due: list[str | None] = []

    async def take() -> None:
        while (one := name(await backlog.next_due())) is not None:
            due.append(one)
            backlog.end(1)

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await wait_all_tasks_blocked()
        assert (due, backlog.waiting, backlog.deferred) == ([], 2, 2)
        for _ in range(11):
            backlog.note_answer()
        await wait_all_tasks_blocked()
        assert (due, backlog.deferred) == (["first"], 1)
        backlog.end_reading()  # nothing else is left to send: the rest goes at its own pace
    assert due == ["first", "second"]
    assert backlog.finished


@pytest.mark.asyncio
async def test_what_costs_no_retry_passes_those_that_are_deferred() -> None:
    backlog = Backlog(bound=10, budget=spent())
    await deferred(backlog, "deferred")
    await backlog.add(1)
    backlog.postpone(pending("refused by a limit"), -0.5)
    assert name(await backlog.next_due()) == "refused by a limit"
    assert backlog.deferred == 1


@pytest.mark.asyncio
async def test_a_deferred_rows_time_without_budget_is_a_pause() -> None:
    backlog = Backlog(bound=10)
    one = pending("a")
    await backlog.add(1)
    before = time.monotonic()
    backlog.postpone(one, -100.0, cost=1.0)
    assert await backlog.next_due() is one
    assert before - 100.0 <= one.ready_at <= time.monotonic() - 100.0  # as long as it has waited since it was due


@pytest.mark.asyncio
async def test_fresh_rows_keep_flowing_while_rows_are_deferred_but_not_to_a_server_that_answers_nothing() -> None:
    backlog = Backlog(bound=4, budget=spent())
    with anyio.CancelScope() as scope:  # takes what is due, which is nothing
        async with anyio.create_task_group() as group:
            group.start_soon(backlog.next_due)
            for number in range(10):
                await deferred(backlog, str(number))
                await anyio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()
            assert backlog.deferred == 10
            for _ in range(4):
                backlog.budget.note_failure()
            added = False

            async def add() -> None:
                nonlocal added
                await backlog.add(1)
                added = True

            group.start_soon(add)
            await wait_all_tasks_blocked()
            assert not added
            backlog.note_answer()
            await wait_all_tasks_blocked()
            assert added
            scope.cancel()


@pytest.mark.asyncio
async def test_while_the_reader_waits_deferred_rows_go_at_their_own_pace() -> None:
    backlog = Backlog(bound=2, budget=spent())
    await deferred(backlog, "a", "b")
    for _ in range(2):
        backlog.budget.note_failure()
    due: list[str | None] = []

    async def take() -> None:
        due.append(name(await backlog.next_due()))

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await wait_all_tasks_blocked()
        assert due == []
        group.start_soon(backlog.add, 1)  # has to wait until one of them went out
    assert due == ["a"]
    assert backlog.deferred == 1
