"""Owns one rate limit's state, in two makes: an even bucket and fixed windows. Costs are requests or tokens.

Both admit in the long run what the limit says, no more: what a large request takes beyond what there is, later ones
wait for. Times are seconds of any one steady clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

# Sums of floats are off by their last bit; who waits as told must pass.
_ROUNDING = 1e-6


@dataclass(slots=True)
class Bucket:
    """Holds `burst_s` seconds' worth, or one unit, and refills evenly at `per_minute`; full at the time `full_at`.

    This is GCRA. A cost that is larger than the bucket waits for a full one and leaves a debt.
    """

    name: str
    per_minute: float
    burst_s: float
    full_at: float = -math.inf

    @property
    def capacity(self) -> float:
        """What it holds when it is full."""
        return max(1.0, self.per_minute * self.burst_s / 60)

    def level(self, now: float) -> float:
        """Return what it holds; below 0 it is in debt."""
        return self.capacity - self.reset_s(now) * self.per_minute / 60

    def reset_s(self, now: float) -> float:
        """Return the seconds until it is full."""
        return max(0.0, self.full_at - now)

    def wait_s(self, cost: float, now: float) -> float:
        """Return the seconds until `cost` passes; 0 if it does now."""
        missing = min(cost, self.capacity) - self.level(now)
        return 0.0 if missing <= _ROUNDING else missing * 60 / self.per_minute

    def take(self, cost: float, now: float) -> None:
        """Charge `cost`."""
        self.full_at = max(self.full_at, now) + cost * 60 / self.per_minute

    def change(self, per_minute: float, now: float) -> None:
        """Go on at another rate, as full or as deep in debt in proportion as it is."""
        share = self.level(now) / self.capacity
        self.per_minute = per_minute
        self.full_at = now + (1 - share) * self.capacity * 60 / per_minute


@dataclass(slots=True)
class Window:
    """Counts within windows of `window_s` seconds, one after the other: all passes until the count reaches the share.

    What the last one took beyond the share counts in the next window.
    """

    name: str
    per_minute: float
    window_s: float
    used: float = 0.0
    number: int | None = None

    @property
    def capacity(self) -> float:
        """The share of one window."""
        return self.per_minute * self.window_s / 60

    def level(self, now: float) -> float:
        """Return what is left of this window's share; below 0 it is in debt."""
        self._turn(now)
        return self.capacity - self.used

    def reset_s(self, now: float) -> float:
        """Return the seconds until a window begins with nothing used; 0 if this one did."""
        self._turn(now)
        return self._until(math.ceil(self.used / self.capacity - _ROUNDING), now)

    def wait_s(self, cost: float, now: float) -> float:
        """Return the seconds until `cost` passes; 0 if it does now."""
        if cost <= 0 or self.level(now) > _ROUNDING:
            return 0.0
        return self._until(math.floor((self.used + _ROUNDING) / self.capacity), now)

    def take(self, cost: float, now: float) -> None:
        """Charge `cost`."""
        self._turn(now)
        self.used += cost

    def change(self, per_minute: float, now: float) -> None:
        """Go on at another rate; what was used stays used."""
        self._turn(now)
        self.per_minute = per_minute

    def _turn(self, now: float) -> None:
        number = math.floor(now / self.window_s + _ROUNDING)
        passed = 0 if self.number is None else number - self.number
        self.used = max(0.0, self.used - passed * self.capacity)
        self.number = number

    def _until(self, windows: int, now: float) -> float:
        number = self.number or 0
        return 0.0 if windows <= 0 else max(0.0, (number + windows) * self.window_s - now)


Meter: TypeAlias = Bucket | Window
