from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.notify import ConfigResult, Flip, Gate, Message, Score

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def night() -> Callable[..., Message]:
    """Return a message about a regression; changes replace fields of it."""

    def make(**changes: Any) -> Message:
        config = ConfigResult(
            name="gsm8k-chat",
            status="complete",
            exit_code=4,
            verdict="exact_match fell by 0.05, more than 0.02",
            scores=(Score("exact_match", 0.71, (0.69, 0.73), 0.76, -0.05, (-0.07, -0.03)),),
            gates=(
                Gate("exact_match.min", passed=True),
                Gate("exact_match.max_drop", passed=False, detail="-0.05 against 0.02"),
            ),
            flips=(Flip("q-17", "exact_match", 1.0, 0.0, "The answer is 42."),),
            paths=(("run", "/srv/evals/outputs/gsm8k-chat/20261122"), ("report", "/srv/evals/report.html")),
        )
        fields: dict[str, Any] = {
            "event": "regression",
            "suite": "main",
            "night": "2026-11-22",
            "verdict": "1 of 1 configs is worse than its last good run",
            "configs": (config,),
            "started_at": "2026-11-22T01:45:00+00:00",
            "ended_at": "2026-11-22T02:45:00+00:00",
        }
        return Message(**(fields | changes))

    return make
