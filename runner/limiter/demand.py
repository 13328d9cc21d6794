"""Owns what a process could use of each limit, from what it used and whether requests waited for it. Pure.

While requests wait for a rate it wants all of it, otherwise somewhat more than it used. A queue counts when it was
seen twice running, and then for some seconds: chance and bursts move nothing, so that parts do not swing.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.limiter.headers import Unit

HOLD_S = 3.0
_HEADROOM = 1.5
# Of several limits, those used this much as fully as the one used most may be next to hold requests back.
_NEARLY_AS_FULL = 0.5
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Metered:
    """One limit: the rate a minute of all that share it, the rate in force for this process, units charged so far."""

    limit: float
    in_force: float
    charged: float


class Demand:
    """What is wanted of each limit, in units a minute; at first all of it."""

    __slots__ = ("_hungry_until", "_seen", "_waited")

    def __init__(self, now: float) -> None:
        self._seen: deque[tuple[float, Mapping[Unit, Metered]]] = deque()
        self._hungry_until = now + HOLD_S
        self._waited = False

    def note(self, now: float, metered: Mapping[Unit, Metered], *, waiting: bool) -> dict[Unit, float]:
        """Note how things stand, and whether requests wait for a rate; return what is wanted."""
        if waiting and self._waited:
            self._hungry_until = now + HOLD_S
        self._waited = waiting
        self._seen.append((now, metered))
        while self._seen[0][0] < now - HOLD_S:
            self._seen.popleft()
        used = {unit: self._used(now, unit, one.charged) for unit, one in metered.items()}
        full = {unit: used[unit] / one.in_force if one.in_force else 0.0 for unit, one in metered.items()}
        scarce = _NEARLY_AS_FULL * max(full.values(), default=0.0) if now <= self._hungry_until else math.inf
        return {
            unit: one.limit if full[unit] >= scarce else min(one.limit, _HEADROOM * used[unit])
            for unit, one in metered.items()
        }

    def _used(self, now: float, unit: Unit, charged: float) -> float:
        """Return what was charged a minute over the last seconds."""
        for at, metered in self._seen:
            if unit in metered and at < now:
                return max(0.0, charged - metered[unit].charged) * _MINUTE_S / (now - at)
        return 0.0
