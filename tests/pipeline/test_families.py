"""Owns what a session does about packs that are refused: what is sent, held, ended and put down, without a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import orjson
import pytest

from runner.errors import BadRequestError, RequestTimeoutError, ServerError
from runner.pipeline.requests.cases import CaseColumns
from runner.pipeline.requests.packing import Loose, Packer, PackLimits
from runner.pipeline.sending.attempt import Outcome
from runner.pipeline.sending.backlog import Backlog, Pending
from runner.pipeline.sending.control import Control, StopKind
from runner.pipeline.sending.counters import Counters
from runner.pipeline.sending.families import Families
from runner.pipeline.sending.splitting import Splitter
from runner.pipeline.sending.state import SessionState
from runner.records import Attempt, Wrapping
from runner.retry import History

if TYPE_CHECKING:
    from runner.errors import RequestError
    from runner.pipeline.sending.recording import Recorder
    from runner.records import Request

ATTEMPT = Attempt(bytes(16), 1, 1, 0.0, 0.0, 400, "bad_request", None, None)
MOST_ATTEMPTS = 3


@dataclass
class Notes:
    """Stands for the recorder; keeps what is put down and what ended."""

    attempts: int = 0
    ended: list[Request] = field(default_factory=list)

    def note(self, _: Attempt) -> None:
        self.attempts += 1

    async def end(self, pending: Pending, _: Outcome, __: Attempt) -> None:
        self.ended.append(pending.request)


@dataclass
class Bench:
    """A session's families with nothing around them, and one pack that is on its way."""

    inputs: int
    state: SessionState = field(default_factory=lambda: SessionState(Control(), Counters(), Backlog(bound=10)))
    notes: Notes = field(default_factory=Notes)
    families: Families = field(init=False)

    def __post_init__(self) -> None:
        recorder = cast("Recorder", self.notes)
        self.families = Families(Splitter(), MOST_ATTEMPTS, lambda *_: None, recorder, self.state)

    async def pack(self) -> Pending:
        contents = [orjson.dumps(f"text {number}") for number in range(self.inputs)]
        keys = [number.to_bytes(16, "big") for number in range(self.inputs)]
        ids, ones = [key.hex() for key in keys], [1] * self.inputs
        cases = CaseColumns(keys, ids, [0] * self.inputs, keys[:], ones, [None] * self.inputs, {}, ones)
        packer = Packer(PackLimits(10**6, 10**9, 10**9))
        around = Wrapping(b'{"input":', b"}")
        packer.add(Loose(cases, contents, "/embeddings", 1, around))
        (request,) = packer.flush()
        await self.state.backlog.add(len(request.body))
        return Pending(request, 0.0, 0.0, counted_bytes=len(request.body))

    async def refuse(self, pending: Pending, error: RequestError) -> None:
        await self.families.divide(pending, Outcome(None, error), ATTEMPT)

    async def due(self) -> list[Pending]:
        """Return what waits, all of which is due."""
        count = self.state.backlog.waiting
        found = [await self.state.backlog.next_due() for _ in range(count)]
        return [one for one in found if one is not None]


def sizes(parts: list[Pending]) -> list[int]:
    return [len(part.request.cases) for part in parts]


@pytest.mark.asyncio
async def test_halves_go_on_in_a_refused_packs_place_and_only_the_bad_input_ends() -> None:
    bench = Bench(inputs=2)
    pack = await bench.pack()
    await bench.refuse(pack, BadRequestError("no"))
    first, second = await bench.due()
    assert sizes([first, second]) == [1, 1]
    assert first.counted_bytes == pack.counted_bytes  # the room that the pack took is given back once
    assert second.counted_bytes == 0
    await bench.refuse(first, BadRequestError("no"))
    bench.families.note_answer(second, 10)
    assert second.family is not None
    await bench.families.leave(second.family)
    assert bench.notes.ended == [first.request]
    assert bench.notes.attempts == 1
    assert bench.families.splitter.most_inputs is None  # an input was to blame, not their number


@pytest.mark.asyncio
async def test_a_server_that_takes_fewer_inputs_is_learnt_and_the_next_pack_fits() -> None:
    bench = Bench(inputs=4)
    await bench.refuse(await bench.pack(), BadRequestError("too many"))
    for part in await bench.due():
        bench.families.note_answer(part, 10)
        assert part.family is not None
        await bench.families.leave(part.family)
    later = await bench.pack()
    bench.families.fit(later)
    assert sizes([later, *await bench.due()]) == [2, 2]
    assert not bench.notes.ended


@pytest.mark.asyncio
@pytest.mark.parametrize(("inputs", "left"), [(2, 2), (4, 1)])
async def test_parts_of_a_pack_that_used_up_its_attempts_have_few_left(inputs: int, left: int) -> None:
    bench = Bench(inputs)
    pack = await bench.pack()
    pack.history = History(first_sent_at=1.0, attempts_used=MOST_ATTEMPTS - 1)
    await bench.refuse(pack, ServerError("oops"))
    for part in await bench.due():
        assert part.history is not None
        assert MOST_ATTEMPTS - part.history.attempts_used == left


@pytest.mark.asyncio
async def test_a_run_that_stops_takes_nothing_apart_but_puts_the_refusal_down() -> None:
    bench = Bench(inputs=4)
    pack = await bench.pack()
    bench.state.control.stop(StopKind.INTERRUPTED)
    await bench.refuse(pack, BadRequestError("no"))
    assert (bench.state.backlog.waiting, bench.notes.attempts, bench.notes.ended) == (0, 1, [])


@pytest.mark.asyncio
async def test_where_nothing_is_answered_small_parts_are_held_and_put_down_when_the_run_stops() -> None:
    bench = Bench(inputs=64)
    await bench.refuse(await bench.pack(), BadRequestError("no"))
    for _ in range(2):  # halves, quarters
        for part in await bench.due():
            await bench.refuse(part, BadRequestError("no"))
    eighths = await bench.due()
    assert sizes(eighths) == [8] * 8
    for part in eighths[:-1]:
        await bench.refuse(part, BadRequestError("no"))
    assert bench.state.backlog.waiting == 0
    before = bench.notes.attempts
    bench.families.note_held()
    assert bench.notes.attempts - before == 7
    assert not bench.notes.ended


@pytest.mark.asyncio
async def test_one_answer_lets_all_that_is_held_go_on() -> None:
    bench = Bench(inputs=64)
    await bench.refuse(await bench.pack(), BadRequestError("no"))
    for _ in range(2):
        for part in await bench.due():
            await bench.refuse(part, BadRequestError("no"))
    *refused, answered = await bench.due()
    for part in refused:
        await bench.refuse(part, BadRequestError("no"))
    bench.families.note_answer(answered, 10)
    assert sizes(await bench.due()) == [4] * 14


@pytest.mark.asyncio
async def test_a_member_that_came_too_late_teaches_nothing() -> None:
    bench = Bench(inputs=4)
    await bench.refuse(await bench.pack(), BadRequestError("too many"))
    late, answered = await bench.due()
    await bench.families.fail(late, Outcome(None, RequestTimeoutError("slow")), ATTEMPT)
    bench.families.note_answer(answered, 10)
    assert answered.family is not None
    await bench.families.leave(answered.family)
    assert answered.family.active == 0
    assert bench.families.splitter.most_inputs is None
    assert bench.notes.ended == [late.request]


@pytest.mark.asyncio
async def test_a_member_that_no_longer_fits_counts_for_each_of_its_parts() -> None:
    bench = Bench(inputs=8)
    await bench.refuse(await bench.pack(), BadRequestError("no"))
    half, other = await bench.due()
    bench.families.splitter.most_inputs = 2  # another family has shown it meanwhile
    bench.families.fit(half)
    parts = [half, *await bench.due()]
    assert sizes(parts) == [2, 2]
    family = half.family
    assert family is not None
    assert all(part.family is family for part in [*parts, other])
    assert family.active == 3
