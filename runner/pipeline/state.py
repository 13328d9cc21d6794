"""Owns the state that the tasks of a session share; all of it is touched by the event loop's thread alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.pipeline.backlog import Backlog
    from runner.pipeline.control import Control
    from runner.pipeline.counters import Counters


@dataclass(frozen=True, slots=True)
class SessionState:
    """Whether the session stops, what it has done, and the rows on their way; each is changed in place."""

    control: Control
    counters: Counters
    backlog: Backlog
