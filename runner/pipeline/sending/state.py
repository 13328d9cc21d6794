"""Owns the state that the tasks of a session share; all of it is touched by the event loop's thread alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner.pipeline.sending.underway import UnderWay

if TYPE_CHECKING:
    from runner.pipeline.sending.backlog import Backlog
    from runner.pipeline.sending.control import Control
    from runner.pipeline.sending.counters import Counters


@dataclass(frozen=True, slots=True)
class SessionState:
    """Whether the session stops, what it has done, the rows on their way, and which of them are under way now.

    Each is changed in place.
    """

    control: Control
    counters: Counters
    backlog: Backlog
    under_way: UnderWay = field(default_factory=UnderWay)
