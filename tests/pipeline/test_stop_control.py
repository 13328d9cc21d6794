from __future__ import annotations

import itertools

import anyio
import pytest
from anyio.lowlevel import checkpoint

from runner.errors import AuthError, RunnerError
from runner.pipeline.sending.control import Control, StopKind

# The contract's precedence: 1 > 73/74 > 130/143 > 5 > 6 > 3 > 4.
GRAVEST_FIRST = [
    {StopKind.INTERNAL},
    {StopKind.STORAGE},
    {StopKind.INTERRUPTED, StopKind.TERMINATED},
    {StopKind.DOOMED},
    {StopKind.UNREACHABLE},
]


@pytest.mark.parametrize(
    ("kind", "exit_code", "status"),
    [
        (StopKind.INTERNAL, 1, "interrupted"),
        (StopKind.STORAGE, 74, "interrupted"),
        (StopKind.INTERRUPTED, 130, "interrupted"),
        (StopKind.TERMINATED, 143, "interrupted"),
        (StopKind.DOOMED, 5, "stopped"),
        (StopKind.UNREACHABLE, 6, "incomplete"),
        (StopKind.DATASET, 2, "interrupted"),
    ],
)
def test_each_reason_has_its_exit_code_and_status(kind: StopKind, exit_code: int, status: str) -> None:
    assert (kind.exit_code, kind.status) == (exit_code, status)


def test_the_gravest_reason_stands_in_whatever_order_they_come() -> None:
    for graver, lesser in itertools.combinations(range(len(GRAVEST_FIRST)), 2):
        for one, other in itertools.product(GRAVEST_FIRST[graver], GRAVEST_FIRST[lesser]):
            for order in ((one, other), (other, one)):
                control = Control()
                for kind in order:
                    control.stop(kind, RunnerError(kind.name))
                assert control.kind is one
                assert control.error is not None
                assert control.error.message == one.name


def test_of_equals_the_first_stands() -> None:
    control = Control()
    assert not control.stopping
    first = AuthError("first")
    control.stop(StopKind.DOOMED, first)
    control.stop(StopKind.DOOMED, AuthError("second"))
    assert control.error is first
    assert control.stopping


@pytest.mark.asyncio
async def test_stopping_cancels_what_waits_and_letting_go_cancels_requests_too() -> None:
    control = Control()
    with anyio.CancelScope() as soft, anyio.CancelScope(shield=True) as hard:
        control.soft.add(soft)
        control.hard.add(hard)
        control.stop(StopKind.INTERRUPTED)
        assert soft.cancel_called
        assert not hard.cancel_called
        control.let_go()
        assert hard.cancel_called
        await checkpoint()
    assert control.kind is StopKind.INTERRUPTED


@pytest.mark.asyncio
async def test_waiting_ends_when_the_run_stops_and_does_not_begin_afterwards() -> None:
    control = Control()
    with control.waiting():
        control.stop(StopKind.INTERRUPTED)
        await anyio.sleep_forever()
    with control.waiting():
        await anyio.sleep_forever()
    assert not control.soft
