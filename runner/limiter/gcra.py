"""Owns one rate limit: the generic cell rate algorithm, which keeps a single time and needs no refill task.

The whole state is `full_at`, the clock time at which the bucket will be full again. A take moves it later by the time
its cost needs to refill, a refund moves it earlier. The bucket is never more than full, however long the clock jumped
(a stopped process, a sleeping laptop), so nothing can be saved up beyond the burst.
"""

from __future__ import annotations

import math

# Timers end a little early, and sums of floats are off by their last bit: an admission within this much of its due
# time is on time. The cost is charged in full all the same, so the rate does not drift.
_TOLERANCE_S = 1e-6


class Gcra:
    """A bucket that refills evenly at `per_minute` units (above 0) and holds `burst_s` seconds' worth, or one unit.

    Times are seconds of any one monotonic clock, costs are units. Over any stretch of t seconds the takes, all but the
    last whole and of the last no more than the bucket holds, sum to at most what the bucket holds plus rate × t. A cost
    larger than the bucket is admitted when the bucket is full and leaves a debt.
    """

    __slots__ = ("_bucket_s", "_full_at", "_unit_s", "per_minute")

    def __init__(self, per_minute: float, *, burst_s: float = 1.0) -> None:
        self.per_minute = per_minute
        self._unit_s = 60.0 / per_minute
        self._bucket_s = max(self._unit_s, burst_s)
        self._full_at = -math.inf

    def wait_s(self, now: float, cost: float) -> float:
        """Return how long `cost` still has to wait at `now`; 0.0 when it may be taken. Changes nothing."""
        wait_s = self._full_at - now + min(cost * self._unit_s, self._bucket_s) - self._bucket_s
        return wait_s if wait_s > _TOLERANCE_S else 0.0

    def take(self, now: float, cost: float) -> None:
        """Charge `cost` at `now`, whether or not it conforms: what the bucket does not hold becomes debt."""
        self._full_at = max(self._full_at, now) + cost * self._unit_s

    def change(self, per_minute: float, *, burst_s: float) -> None:
        """Refill at another rate from now on; what is missing takes as long to refill as before."""
        self.per_minute = per_minute
        self._unit_s = 60.0 / per_minute
        self._bucket_s = max(self._unit_s, burst_s)

    def level(self, now: float) -> float:
        """Return how many units are in the bucket; below zero is a debt."""
        return (self._bucket_s - max(0.0, self._full_at - now)) / self._unit_s

    def set_level(self, now: float, units: float) -> None:
        """Let the bucket hold so many units now, or as many as fit."""
        self._full_at = now + max(0.0, self._bucket_s - units * self._unit_s)

    def give(self, cost: float) -> None:
        """Refund `cost`. What would overfill the bucket is lost: the next take counts from its own time at least."""
        self._full_at -= cost * self._unit_s
