"""Owns serving the simulator beside a test: in a thread of its own, so that runs and commands may block."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from anyio.from_thread import start_blocking_portal

from runner.simulate import AnswerStyle, FaultDetails, SimulatorOptions, open_simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.simulate import Simulator

# Answers are short and waits of milliseconds: what the tests are about is not how long a server takes.
QUICK = SimulatorOptions(
    answers=AnswerStyle(completion_tokens=8),
    fault_details=FaultDetails(
        retry_headers={"retry-after-ms": "5"},
        huge_bytes=1 << 20,
        bomb_bytes=1 << 20,
        drip_bytes=100,
        drip_interval_s=0.001,
        stall_s=0.001,
    ),
)


@contextmanager
def serving(options: SimulatorOptions = QUICK) -> Iterator[Simulator]:
    """Serve for the length of the context. The ledger may be read, and `change` called, while nothing is in flight."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(open_simulator(options)) as simulator,
    ):
        yield simulator
