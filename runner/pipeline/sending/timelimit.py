"""Owns the wall-clock budget: at its end nothing more is sent, and answers under way may come in for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runner.errors import BudgetError
from runner.pipeline.sending.control import StopKind
from runner.pipeline.sending.signals import GRACE_S

if TYPE_CHECKING:
    from runner.pipeline.sending.control import Control


async def stop_in_time(control: Control, max_wall_s: float, grace_s: float = GRACE_S) -> None:
    """Stop a session `max_wall_s` seconds from now, and let go of what is under way `grace_s` later."""
    await anyio.sleep(max_wall_s)
    control.stop(
        StopKind.OUT_OF_TIME,
        BudgetError(
            f"the session's {max_wall_s:g} s of wall-clock time are over",
            hint="what is done is kept: `evalrunner resume RUN_DIR` goes on for as long again",
        ),
    )
    await anyio.sleep(grace_s)
    control.let_go()
