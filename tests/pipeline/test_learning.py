"""Owns what a session does with lessons, without a server: who waits for a first answer, what is kept of a lesson."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import anyio
import orjson
import pytest
from anyio import wait_all_tasks_blocked

from runner.endpoints import ENDPOINTS
from runner.errors import StorageError
from runner.pipeline.requests.adapting import Adapting
from runner.pipeline.sending.backlog import Backlog, Pending
from runner.pipeline.sending.control import Control, StopKind
from runner.pipeline.sending.counters import Counters
from runner.pipeline.sending.learning import Learning
from runner.pipeline.sending.sessionplan import Audience
from runner.pipeline.sending.state import SessionState
from runner.progress import Silent
from runner.records import Attempt, Case, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.pipeline.sending.recording import Recorder

BODY = orjson.dumps({"messages": [], "model": "m", "temperature": 0})
CASE = Case(bytes(16), "s", 0, bytes(16), 0, None, b"{}")
REFUSED = orjson.dumps({"error": {"message": "no", "param": "temperature", "code": "unsupported_parameter"}})
ATTEMPT = Attempt(bytes(16), 1, 1, 0.0, 0.0, 400, "bad_request", None, None)


@dataclass
class Notes:
    """Stands for the recorder; keeps what is put down."""

    attempts: list[Attempt] = field(default_factory=list)

    def note(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)


@dataclass
class Bench:
    """A session's learning with nothing around it; `kept` counts how often lessons were written down."""

    adapting: Adapting = field(default_factory=lambda: Adapting(ENDPOINTS["chat"], stops=False, repeats=1))
    state: SessionState = field(default_factory=lambda: SessionState(Control(), Counters(), Backlog(bound=10)))
    notes: Notes = field(default_factory=Notes)
    said: list[str] = field(default_factory=list)
    kept: int = 0
    full_disk: bool = False

    def remember(self) -> None:
        if self.full_disk:
            raise StorageError("no space")
        self.kept += 1

    def learning(self) -> Learning:
        audience = Audience(Silent(), self.said.append, lambda *_: None, catch_signals=False)
        return Learning(self.adapting, self.remember, audience, cast("Recorder", self.notes), self.state)

    async def pending(self) -> Pending:
        await self.state.backlog.add(len(BODY))
        return Pending(Request(bytes(16), "/chat/completions", BODY, (CASE,), 1, 9), 0.0, 0.0)


async def let_in(learning: Learning, workers: int, let_go: list[int]) -> None:
    async def one(worker: int) -> None:
        await learning.hold_back(worker)
        let_go.append(worker)

    async with anyio.create_task_group() as group:
        for worker in range(workers):
            group.start_soon(one, worker)


@pytest.mark.asyncio
async def test_two_workers_go_ahead_and_the_others_wait_for_an_answer() -> None:
    bench, let_go = Bench(), list[int]()
    learning = bench.learning()
    async with anyio.create_task_group() as group:
        group.start_soon(let_in, learning, 5, let_go)
        await wait_all_tasks_blocked()
        assert sorted(let_go) == [0, 1]
        await learning.note_answer(await bench.pending(), Response(200, {}, b"{}", 0.0, 0.0))
    assert sorted(let_go) == [0, 1, 2, 3, 4]
    assert bench.adapting.accepted


def stop(bench: Bench, _: Learning) -> None:
    bench.state.control.stop(StopKind.DOOMED)


def end_rows(_: Bench, learning: Learning) -> None:
    learning.end_scouting()


@pytest.mark.asyncio
@pytest.mark.parametrize("end", [stop, end_rows])
async def test_nobody_waits_for_an_answer_that_cannot_come(end: Callable[[Bench, Learning], None]) -> None:
    bench, let_go = Bench(), list[int]()
    learning = bench.learning()
    async with anyio.create_task_group() as group:
        group.start_soon(let_in, learning, 3, let_go)
        await wait_all_tasks_blocked()
        end(bench, learning)
    assert sorted(let_go) == [0, 1, 2]


@pytest.mark.asyncio
async def test_nobody_waits_where_the_server_is_known() -> None:
    bench, let_go = Bench(), list[int]()
    bench.adapting.accepted = True
    await let_in(bench.learning(), 4, let_go)
    assert sorted(let_go) == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_a_lesson_is_said_and_written_once_and_its_row_goes_on_without_the_parameter() -> None:
    bench = Bench()
    learning = bench.learning()
    for _ in range(2):
        pending = await bench.pending()
        taught = bench.adapting.learn(pending.request, Response(400, {}, REFUSED, 0.0, 0.0))
        assert taught
        await learning.send_again(taught, pending, ATTEMPT)
        assert orjson.loads(pending.request.body) == {"messages": [], "model": "m"}
    assert (bench.kept, len(bench.said)) == (1, 1)
    assert [one.error_kind for one in bench.notes.attempts] == ["unsupported", "unsupported"]
    assert (bench.state.backlog.waiting, bench.state.counters.retries) == (2, 2)


@pytest.mark.asyncio
async def test_a_lesson_that_cannot_be_written_down_stops_the_run() -> None:
    bench = Bench(full_disk=True)
    pending = await bench.pending()
    taught = bench.adapting.learn(pending.request, Response(400, {}, REFUSED, 0.0, 0.0))
    assert taught
    await bench.learning().send_again(taught, pending, ATTEMPT)
    assert bench.state.control.kind is StopKind.STORAGE
    assert bench.state.backlog.waiting == 0
