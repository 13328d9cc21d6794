"""The connection test says what streaming is good for at a server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from runner.pipeline.probe import LIMITED, PASSED, Target, probe
from runner.simulate import FaultRules, open_simulator
from runner.transport import Timeouts, TransportOptions, open_transport
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from runner.pipeline.probe import Probe


async def probed(fault: str) -> Probe:
    """Probe a server at which the streamed request, the fourth it counts, meets a fault."""
    options = replace(QUICK, faults=FaultRules(script={4: fault}))
    timeouts = Timeouts(connect=5, first_byte=5, idle=0.5, total=20)
    async with (
        open_simulator(options) as simulator,
        open_transport(TransportOptions(simulator.base_url, timeouts=timeouts)) as transport,
    ):
        return await probe(transport, Target("m", "/chat/completions"))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "outcome", "says"),
    [
        ("ok", PASSED, "usage at the end"),
        ("missing_usage", PASSED, "no usage"),
        ("stream_no_done", PASSED, "first token after"),
        ("stream_ignored", LIMITED, "answered in one piece"),
        ("stream_end", LIMITED, "ended before its answer was complete"),
        ("stream_cut", LIMITED, "cut"),
        ("stream_stall", LIMITED, "in the middle of the answer"),
        ("stream_error", LIMITED, "The engine died"),
        ("400", LIMITED, "cannot be served"),
        ("disconnect", LIMITED, "closed"),
    ],
)
async def test_streaming_is_tested_once(fault: str, outcome: str, says: str) -> None:
    found = await probed(fault)
    (check,) = [one for one in found.checks if one.name == "streaming"]
    assert check.outcome == outcome
    assert says in check.detail
    assert (found.requests, found.exit_code) == (5, 0)
