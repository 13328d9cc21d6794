"""Owns one limit of a server: what the config says of it, what the server's headers tell, and the bucket that keeps it.

The lower of the two rates holds, and of it this process's share where others use the same key. What the server says is
left, or the same share of it, is an upper bound for the bucket: what refilled since the request went out is added, what
was charged since is taken off. For tokens it counts upwards as well, since some servers give back what an answer did
not use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.limiter.gcra import Gcra
from runner.limiter.headers import Unit

if TYPE_CHECKING:
    from runner.limiter.headers import LimitSeen

# Servers check limits over 1 to 10 seconds (Azure), or keep a second's worth; less than that leaves room for jitter.
BURST_S = 0.4
_MINUTE_S = 60.0
# What a prompt takes is estimated until its answer is there: a little of what a server has left of tokens is spared.
_TOKENS_SPARED_S = 0.02
# A limit that refills over longer than this is not one to keep pace with: a day's worth may be sent in an hour.
_LONGEST_WINDOW_S = 120.0
_SAME_RATIO = 0.1
_RATIOS = 3


class Allowance:
    """One limit, in units a minute; without a rate it permits everything.

    `taken` sums what was charged at admission, `charged` what it came to when it was put right.
    """

    __slots__ = ("_gate", "_ratio", "_same_ratios", "_share", "_told", "_typed", "_used", "charged", "taken", "unit")

    def __init__(self, unit: Unit, typed: float | None) -> None:
        self.unit = unit
        self.charged = self.taken = 0.0
        self._typed = typed
        self._told: float | None = None
        self._share = 1.0
        self._gate = None if typed is None else Gcra(typed, burst_s=BURST_S)
        self._ratio, self._same_ratios, self._used = 0.0, 0, 0.0

    @property
    def per_minute(self) -> float | None:
        """The rate in force; null where there is none."""
        return None if self._gate is None else self._gate.per_minute

    @property
    def whole_per_minute(self) -> float | None:
        """The rate of all that share the limit; null where there is none."""
        return min((rate for rate in (self._typed, self._told) if rate is not None), default=None)

    @property
    def told(self) -> float | None:
        """The rate that the server told."""
        return self._told

    def wait_s(self, now: float, cost: float) -> float:
        """Return how long `cost` still has to wait; 0.0 when it may be taken."""
        return 0.0 if self._gate is None else self._gate.wait_s(now, cost)

    def take(self, now: float, cost: float) -> None:
        """Charge a cost."""
        self.charged += cost
        self.taken += cost
        if self._gate is not None:
            self._gate.take(now, cost)

    def correct(self, now: float, reserved: float, used: float) -> None:
        """Put a charge right: what was not used is given back, what was used beyond is charged."""
        self.charged += used - reserved
        if self._gate is None:
            return
        if used < reserved:
            self._gate.give(reserved - used)
        elif used > reserved:
            # No server admits more than a minute's limit at once; a nonsensical count must not stop the run for hours.
            self._gate.take(now, min(used - reserved, self._gate.per_minute))

    def empty(self, now: float) -> None:
        """Note that the server refused: nothing is left."""
        if self._gate is not None:
            self._gate.set_level(now, min(-self._spared(self._gate), self._gate.level(now)))

    def limit_to(self, per_minute: float | None) -> None:
        """Change what the config says."""
        self._typed = per_minute
        self._renew()

    def set_share(self, now: float, share: float) -> None:
        """Use this fraction of the rate from now on, above 0. What is in the bucket stays, as far as it fits."""
        if share == self._share:
            return
        level = None if self._gate is None else self._gate.level(now)
        self._share = share
        self._renew()
        if self._gate is not None and level is not None:
            self._gate.set_level(now, level)

    def hear(self, now: float, seen: LimitSeen, *, sent_at: float, taken: float) -> None:
        """Note what an answer told; its request went out at `sent_at`, when `taken` units had been taken with it."""
        self._adopt(self._rate_told(seen))
        gate = self._gate
        if gate is None or seen.remaining is None or self._told is None:
            return
        # The server speaks of all processes together. What was put right since is no matter: it knew the request's own
        # charge, and of those behind it what they took counts.
        refilled = (now - sent_at) * gate.per_minute / _MINUTE_S
        left = self._share * seen.remaining + refilled - (self.taken - taken) - self._spared(gate)
        if left < gate.level(now) or self.unit is not Unit.REQUESTS:
            gate.set_level(now, left)

    def _spared(self, gate: Gcra) -> float:
        return 0.0 if self.unit is Unit.REQUESTS else _TOKENS_SPARED_S * gate.per_minute / _MINUTE_S

    def _rate_told(self, seen: LimitSeen) -> float | None:
        """Return units a minute; null where that is unknown, or nothing to keep pace with."""
        if seen.limit is None:
            return self._told
        window_s = seen.window_s or self._window_s(seen)
        return None if window_s > _LONGEST_WINDOW_S else seen.limit * _MINUTE_S / window_s

    def _window_s(self, seen: LimitSeen) -> float:
        """Return a minute, unless what is used takes longer to refill, in a steady proportion (as of daily limits)."""
        used = (seen.limit or 0.0) - (seen.remaining or 0.0)
        if seen.limit is None or seen.remaining is None or seen.reset_s is None or used < 1:
            return _MINUTE_S
        ratio = seen.reset_s / used
        if used != self._used:
            steady = abs(ratio - self._ratio) <= _SAME_RATIO * self._ratio
            self._same_ratios = self._same_ratios + 1 if steady else 0
            self._ratio, self._used = ratio, used
        window_s = ratio * seen.limit
        return window_s if self._same_ratios >= _RATIOS and window_s > _LONGEST_WINDOW_S else _MINUTE_S

    def _adopt(self, told: float | None) -> None:
        if told != self._told:
            self._told = told
            self._renew()

    def _renew(self) -> None:
        whole = self.whole_per_minute
        if whole is None:
            self._gate = None
            return
        rate = self._share * whole
        if self._gate is None:
            self._gate = Gcra(rate, burst_s=BURST_S)
        elif self._gate.per_minute != rate:
            self._gate.change(rate, burst_s=BURST_S)
