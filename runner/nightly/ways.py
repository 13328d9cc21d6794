"""Owns how a night does things: by which clock and command, and how long it waits for what."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runner.nightly.child import Patience

if TYPE_CHECKING:
    from collections.abc import Callable


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Ways:
    """How a night does things: its clock, its command, and how long it waits for what.

    `server_wait_s` is the longest that a config waits for its server to answer, or for another process to let go of its
    run; `review_s` the longest that comparing a run, and a page of it, may take. `reports` has such pages made.
    """

    now: Callable[[], datetime] = _now
    command: tuple[str, ...] = (sys.executable, "-m", "runner")
    patience: Patience = field(default_factory=Patience)
    server_wait_s: float = 1800.0
    review_s: float = 600.0
    reports: bool = True
