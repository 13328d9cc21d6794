"""Owns how many requests are worth having under way: `max_in_flight: auto`. Pure: the clock is an argument.

A server that only queues what it cannot serve never refuses. Up to its knee twice as many requests bring nearly twice
as much done, beyond it they only wait for each other. So the number doubles while that brings more, and then stands
where most was done with least; from time to time a little more and a little less is tried. What is compared is output
tokens a second (answers a second where tokens are not told), never the latency of an answer, which follows its length.

Errors of overload lower the number by a share; a few among many answers, which come by chance, do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

START = 8
# Where a rate is known, that bounds what is sent; what is under way follows from how long answers take.
START_AT_A_RATE = 64
MOST = 1024
# Doubling that brings less than this much more has passed the knee; this much less than the most seen is as good.
_WORTH_DOUBLING = 1.15
_AS_GOOD = 0.97
_TRIAL = 1.25
_TRIAL_GAIN = 1.03
# A number is judged by a span of this many answers for each request under way, and this many seconds at least.
_TURNS = 2.0
_LEAST_S = 0.25
_LEAST_ANSWERS = 16
_FIRST_TRIAL_S = 5.0
_LONGEST_TRIAL_S = 60.0
# This share of overload among the last hundred or so that ended is no chance: a bad day has 7 % of all faults.
_OVERLOAD = 0.2
_FEWEST = 30.0
_KEEP = 0.99
_FALL = 0.7
# Where falls do not lower the share of overload to this share of itself, so many times, the number is not its cause.
_BETTER = 0.6
_FUTILE = 2
# After a fall the number stays below where it was for so long.
_BELOW = 0.9
_BELOW_FOR_S = 15.0


class _Phase(Enum):
    DOUBLING = auto()
    STEADY = auto()
    TRYING = auto()


@dataclass(slots=True)
class _Span:
    """What ended since a number was set. Answers to requests that were sent before it are not of this number."""

    begun: float
    answers: int = 0
    amount: float = 0.0
    settled_at: float | None = None


class Concurrency:
    """The number of requests that may be under way, from what is done with it."""

    __slots__ = (
        "_best",
        "_ended",
        "_futile",
        "_most",
        "_most_until",
        "_overloads",
        "_phase",
        "_share",
        "_span",
        "_trial_at",
        "_trial_every_s",
        "_up",
        "limit",
    )

    def __init__(self, now: float, *, start: int = START) -> None:
        self.limit = start
        self._phase = _Phase.DOUBLING
        self._span = _Span(now)
        self._best: tuple[int, float] | None = None
        self._trial_at = 0.0
        self._trial_every_s = _FIRST_TRIAL_S
        self._up = True
        self._ended = self._overloads = 0.0
        self._share, self._futile = 1.0, 0
        self._most, self._most_until = MOST, 0.0

    def begin_at_a_rate(self, now: float) -> None:
        """Let more be under way from the start, since a rate that has become known bounds what is sent."""
        if self._phase is _Phase.DOUBLING and self.limit < START_AT_A_RATE:
            self._set(now, START_AT_A_RATE)

    def answered(self, now: float, sent_at: float, amount: float, *, full: bool) -> None:
        """Note an answer: when it was sent, and how much came (tokens, or 1).

        `full` says that as many as allowed were under way: otherwise the number is not what held the run back.
        """
        self._ended = _KEEP * self._ended + 1.0
        self._overloads *= _KEEP
        span = self._span
        if sent_at < span.begun:
            return
        if not full:
            self._span = _Span(now)
            return
        if span.settled_at is None:
            span.settled_at = now  # the first that was sent with this number: from here on it is what is measured
            return
        span.answers += 1
        span.amount += amount
        passed = now - span.settled_at
        if passed >= _LEAST_S and span.answers >= max(_LEAST_ANSWERS, _TURNS * self.limit):
            self._judge(now, span.amount / passed)

    def overloaded(self, now: float, sent_at: float) -> None:
        """Note an error of overload or a connection that broke; in number they mean less under way."""
        self._ended = _KEEP * self._ended + 1.0
        self._overloads = _KEEP * self._overloads + 1.0
        if sent_at < self._span.begun or self._ended < _FEWEST or self._overloads < _OVERLOAD * self._ended:
            return
        share, before = self._overloads / self._ended, self._share
        self._ended = self._overloads = 0.0
        self._futile = self._futile + 1 if share > _BETTER * before and before < 1.0 else 0
        self._share = share
        if self._futile >= _FUTILE:
            return
        self._most, self._most_until = max(1, int(self.limit * _BELOW)), now + _BELOW_FOR_S
        # The way back is that of the start: what has passed must not last.
        self._best, self._phase = None, _Phase.DOUBLING
        self._trial_every_s = _FIRST_TRIAL_S
        self._set(now, max(1, int(self.limit * _FALL)))

    def _judge(self, now: float, rate: float) -> None:
        """Decide on the next number by what this one did."""
        best = self._best
        if self._overloads < _OVERLOAD / 2 * self._ended:
            self._share, self._futile = 1.0, 0
        if self._phase is _Phase.DOUBLING:
            bound = self._bound(now)
            if self.limit >= bound < MOST:  # what it would bring is found out when it may
                self._set(now, self.limit)
                return
            if best is None or rate >= _WORTH_DOUBLING * best[1]:
                self._best = (self.limit, rate)
                if self.limit < bound:
                    self._set(now, min(bound, 2 * self.limit))
                    return
            self._rest(now, rate)
        elif self._phase is _Phase.TRYING:
            self._after_trial(now, rate)
        else:
            self._best = (self.limit, rate if best is None or best[0] != self.limit else 0.5 * (best[1] + rate))
            if now >= self._trial_at:
                self._phase = _Phase.TRYING
                self._set(now, self._tried(now))
            else:
                self._set(now, self.limit)

    def _rest(self, now: float, rate: float) -> None:
        """End the doubling with the smaller of two numbers that do as much."""
        best = self._best
        if best is None or rate > best[1] / _AS_GOOD:
            self._best = best = (self.limit, rate)
        self._phase = _Phase.STEADY
        self._trial_at = now + _FIRST_TRIAL_S / 5
        self._set(now, best[0])

    def _bound(self, now: float) -> int:
        return self._most if now < self._most_until else MOST

    def _tried(self, now: float) -> int:
        if self._up:
            return min(self._bound(now), max(self.limit + 1, round(self.limit * _TRIAL)))
        return max(1, min(self.limit - 1, round(self.limit / _TRIAL)))

    def _after_trial(self, now: float, rate: float) -> None:
        """Keep a number that did better, or as much with less; a trial that failed puts off the next one."""
        known = self._best or (self.limit, rate)
        gain = _TRIAL_GAIN if self._up else _AS_GOOD
        self._phase = _Phase.STEADY
        if rate >= gain * known[1]:
            self._best = (self.limit, rate)
            self._trial_every_s = _FIRST_TRIAL_S
            self._trial_at = now
            self._set(now, self.limit)
            return
        self._up = not self._up
        self._trial_at = now + self._trial_every_s
        self._trial_every_s = min(2 * self._trial_every_s, _LONGEST_TRIAL_S)
        self._set(now, known[0])

    def _set(self, now: float, limit: int) -> None:
        self.limit = limit
        self._span = _Span(now)
