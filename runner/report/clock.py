"""Owns time as a report shows it: seconds of sessions, without the gaps between them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runner.folder.manifest import Session


@dataclass(frozen=True, slots=True)
class RunClock:
    """When each session began, in seconds since 1970, and how many seconds of sessions there were before it."""

    starts: tuple[float, ...]
    before: tuple[float, ...]

    def elapsed_s(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return moments as seconds of sessions; what lies between two sessions is at the end of the earlier one."""
        if not self.starts:
            return np.full(len(at), np.nan)
        place = np.maximum(np.searchsorted(self.starts, at, side="right") - 1, 0)
        ends = np.array([*self.before[1:], np.inf])
        elapsed = np.array(self.before)[place] + (at - np.array(self.starts)[place])
        within: NDArray[np.float64] = np.minimum(elapsed, ends[place])
        return within


def clock_of(sessions: Sequence[Session]) -> RunClock:
    """Return the clock of a run's sessions; one that was killed ended, as far as anybody knows, when the next began."""
    starts = [seconds_of(one.started_at) for one in sessions]
    before = [0.0]
    for one, start, following in zip(sessions, starts, starts[1:], strict=False):
        end = seconds_of(one.ended_at) if one.ended_at else following
        before.append(before[-1] + max(0.0, end - start))
    return RunClock(tuple(starts), tuple(before[: len(starts)]))


def seconds_of(stamp: str) -> float:
    """Return seconds since 1970 of a time in ISO 8601."""
    return datetime.fromisoformat(stamp).timestamp()
