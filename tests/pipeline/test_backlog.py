from __future__ import annotations

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from runner.pipeline.backlog import Backlog, Pending
from runner.records import Request


def pending(name: str) -> Pending:
    return Pending(Request(name.encode(), "/", b"", (), 1, 0), 0.0, 0.0)


def name(one: Pending | None) -> str | None:
    return one.request.key.decode() if one else None


@pytest.mark.asyncio
async def test_rows_come_back_in_the_order_of_their_waits() -> None:
    backlog = Backlog(bound=10)
    for number, wait_s in enumerate([-1.0, -3.0, -2.0, -2.0]):
        await backlog.add()
        backlog.postpone(pending(str(number)), wait_s)
    assert backlog.waiting == 4
    assert [name(await backlog.next_due()) for _ in range(4)] == ["1", "2", "3", "0"]
    assert backlog.waiting == 0


@pytest.mark.asyncio
async def test_a_row_that_becomes_due_sooner_overtakes_one_that_is_waited_for() -> None:
    backlog = Backlog(bound=10)
    await backlog.add()
    await backlog.add()
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
        await backlog.add()
        backlog.postpone(pending(str(number)), -1.0)
    added = False

    async def add() -> None:
        nonlocal added
        await backlog.add()
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
    await backlog.add()
    await backlog.add()
    backlog.end()
    backlog.end_reading()
    assert not backlog.finished
    ended: list[Pending | None] = []

    async def take() -> None:
        ended.append(await backlog.next_due())

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await wait_all_tasks_blocked()
        assert ended == []
        backlog.end()
    assert ended == [None]
    assert backlog.finished


@pytest.mark.asyncio
async def test_an_empty_dataset_is_finished_at_once() -> None:
    backlog = Backlog(bound=1)
    backlog.end_reading()
    assert await backlog.next_due() is None
