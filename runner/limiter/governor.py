"""Owns finding the rate that a server permits and does not tell. Pure: the clock is an argument.

A server that limits a rate keeps a bucket which refills at the limit; a refusal says that it is empty. Between two
refusals it was emptied of exactly what had refilled, so what was sent between them and not refused, over the time
between them, is the limit, whatever the pace was and however large the bucket is. After a refusal the rate goes to just
below that, and rises from there, slowly and then faster: past the limit the bucket is lived off until the next refusal
measures it again. A limit that was halved is found by the next refusals, one that was doubled by the rise.

Some servers refuse by chance, one replica of many, whatever the rate is. To lower the rate for that would never end. So
a refusal counts where the bucket can have been emptied, since as much was admitted as is known to refill; or where a
fifth and more of what was sent lately is refused.

Until a first refusal nothing is known. The start is then slow and doubles twice a second, so that the first overshoot
is a handful of requests and not all that the run could send at once.
"""

from __future__ import annotations

import math

# In units a second: where a rate of which nothing is known begins, and where it is taken to be without a limit.
START_PER_S = 20.0
_UNLIMITED_PER_S = 4_000.0
_DOUBLING_S = 0.5
# What is left free below a limit just measured, and the rise from there: by the share `_RISE * (e^(t / tau) - 1)`.
_BELOW = 0.985
_RISE = 0.008
_TAU_S = 3.5
# A rate this far above what was admitted on average had risen for long, over a bucket that was full for a part of the
# time: the limit has grown, and lies above the average.
_RISEN = 1.3
_FALL_FROM_RISEN = 0.8
_LONG_S = 5.0
# Between refusals closer than this too little was admitted to measure by: the rate falls by a fixed share instead.
_LEAST_S = 0.5
_LEAST_UNITS = 5
_FALL = 0.9
_FIRST_FALL = 0.7
# A rate that is not used says nothing of what would be permitted: it stays below twice what is sent.
_SLOT_S = 0.25
# This share of the last units (some fifty, the older the less they count) is no chance; fewer than these few may be.
_MANY = 0.2
_FEWEST = 3.0
_KEEP = 0.98
# Nor is this share over a longer while.
_STEADY = 0.08
_A_WHILE_S = 2.0
# As much as is known to refill, but for what counting and clocks are off.
_NEARLY = 0.998


class Governor:
    """The rate of one server, in units a second, from what is sent and what is refused.

    `ramp` starts slowly; without it nothing is limited until a first refusal.
    """

    __slots__ = (
        "_base",
        "_cut_at",
        "_lately_refused",
        "_lately_sent",
        "_mark_at",
        "_mark_number",
        "_ramping",
        "_refused",
        "_sent",
        "_since",
        "_slot",
        "_slot_sent",
        "_used",
        "measured",
    )

    def __init__(self, now: float, *, ramp: bool) -> None:
        self.measured: float | None = None
        self._ramping = ramp
        self._base = START_PER_S if ramp else math.inf
        self._since = now
        self._cut_at = -math.inf
        self._sent = 0
        self._mark_at, self._mark_number = -math.inf, 0
        self._refused = 0
        self._slot, self._slot_sent, self._used = now, 0, 0.0
        self._lately_sent = self._lately_refused = 0.0

    @property
    def active(self) -> bool:
        """Whether it limits anything."""
        return self._base < _UNLIMITED_PER_S

    def rate(self, now: float) -> float:
        """Return how many units a second may be sent now; infinite where nothing is known to be refused."""
        if not self.active:
            return math.inf
        passed = now - self._since
        if self._ramping:
            rate = self._base * math.pow(2.0, min(passed / _DOUBLING_S, 30.0))
        else:
            rate = self._base * (1.0 + _RISE * (math.exp(min(passed / _TAU_S, 30.0)) - 1.0))
        self._turn(now)
        most = max(2.0 * self._observed(), START_PER_S, self._base)
        if rate > most:  # not used, so not known: go on from here when it is
            rate = most
            if self._ramping:
                self._base, self._since = most, now
        if self._ramping and rate >= _UNLIMITED_PER_S:
            self._base = math.inf
        return rate

    def end_ramp(self) -> None:
        """Stop starting slowly, since the limit is known by other means; refusals still count."""
        if self._ramping:
            self._ramping, self._base = False, math.inf

    def skip(self, now: float, seconds: float) -> None:
        """Leave out so many seconds up to now, in which nothing was sent by choice: they show nothing of the limit."""
        self._since = min(now, self._since + seconds)
        self._mark_at = min(now, self._mark_at + seconds)
        self._slot = min(now, self._slot + seconds)

    def sent(self, now: float) -> int:
        """Count one unit as sent; its number goes with it, for `refused`."""
        self._turn(now)
        self._sent += 1
        self._slot_sent += 1
        self._lately_sent = _KEEP * self._lately_sent + 1.0
        self._lately_refused *= _KEEP
        return self._sent

    def refused(self, now: float, sent_at: float, number: int) -> bool:
        """Note that the server refused unit `number`, sent at `sent_at`; say whether that lowered the rate."""
        if number <= self._mark_number:
            return False  # it went out before the refusal that is measured from
        self._refused += 1
        self._lately_refused += 1.0
        if sent_at <= self._cut_at:
            return False  # it went out before the rate was lowered for the one before
        passed, admitted = sent_at - self._mark_at, number - self._mark_number - self._refused
        if not self._are_many() and not self._is_emptied(passed, admitted):
            return False
        rate = min(self.rate(now), self._observed())
        if self._mark_at == -math.inf:
            self._measure_from(sent_at, number)
            self._lower(now, rate * _FIRST_FALL)
        elif passed < _LEAST_S or admitted < _LEAST_UNITS:
            self._lower(now, rate * _FALL)
        else:
            self._measure_from(sent_at, number)
            self.measured = admitted / passed
            if passed > _LONG_S and rate > _RISEN * self.measured:
                self.measured = _FALL_FROM_RISEN * rate
            self._lower(now, _BELOW * self.measured)
        return True

    def _are_many(self) -> bool:
        return self._lately_refused >= max(_FEWEST, _MANY * self._lately_sent)

    def _is_emptied(self, passed: float, admitted: int) -> bool:
        """Say whether the server's bucket can have been emptied since a refusal found it empty."""
        if self.measured is None:
            return passed >= _LEAST_S and self._mark_at > -math.inf
        if passed >= _A_WHILE_S and self._refused >= max(_FEWEST, _STEADY * (admitted + self._refused)):
            return True
        return admitted >= _NEARLY * self.measured * passed

    def _measure_from(self, sent_at: float, number: int) -> None:
        self._mark_at, self._mark_number, self._refused = sent_at, number, 0

    def _lower(self, now: float, rate: float) -> None:
        self._base, self._ramping = rate, False
        self._cut_at = self._since = now
        self._lately_sent = self._lately_refused = 0.0

    def _observed(self) -> float:
        return max(self._used, self._slot_sent / _SLOT_S)

    def _turn(self, now: float) -> None:
        if now - self._slot >= _SLOT_S:
            passed = now - self._slot
            self._used = self._slot_sent / passed
            self._slot, self._slot_sent = now, 0
