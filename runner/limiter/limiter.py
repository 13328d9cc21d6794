"""Owns when a request may be sent: requests and tokens per minute, freezes, and the queue of those who wait.

One `Limiter` stands for one server and one key. Everything it decides is decided in `_admit_or_wait`, which is
synchronous and knows no task; the async part only keeps the queue and sleeps. To give each server of a pool its own
limits, make one each; limits learnt from headers only have to replace the gates.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from runner.limiter.gcra import Gcra

if TYPE_CHECKING:
    from runner.limiter.policy import Limits

AUTO_IN_FLIGHT = 64

# After a freeze without a request limit, nothing else would keep the waiters from starting in one instant.
RAMP_PER_S = 50
RAMP_S = 2.0

Clock = Callable[[], float]
Pause = Callable[[anyio.Event, float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """What the limiter did so far: requests admitted and waiting, seconds of freeze left, seconds waited in all.

    `waited_s` sums over admitted requests. The limits are those in force, per minute, null where there is none.
    """

    admitted: int
    waiting: int
    frozen_for_s: float
    waited_s: float
    requests_per_minute: float | None
    tokens_per_minute: float | None
    input_tokens_per_minute: float | None
    output_tokens_per_minute: float | None


def max_in_flight(limits: Limits) -> int:
    """Return how many requests may be under way at once; `auto` is 64."""
    return AUTO_IN_FLIGHT if limits.max_in_flight == "auto" else limits.max_in_flight


async def pause(wake: anyio.Event, timeout_s: float) -> None:
    """Sleep until `wake` is set, `timeout_s` seconds at most (infinite: until it is set)."""
    with anyio.move_on_after(timeout_s):
        await wake.wait()


class Limiter:
    """Admits requests in the order they came, each only when all limits allow it, charging all of them or none.

    `clock` gives monotonic seconds, `pause` sleeps on that clock. Not for use from several threads or event loops.
    """

    def __init__(self, limits: Limits, clock: Clock = time.monotonic, *, pause: Pause = pause) -> None:
        self._clock = clock
        self._pause = pause
        self._requests = _gate(limits.requests_per_minute)
        self._tokens = _gate(limits.tokens_per_minute)
        self._input_tokens = _gate(limits.input_tokens_per_minute)
        self._output_tokens = _gate(limits.output_tokens_per_minute)
        token_gates = (self._tokens, self._input_tokens, self._output_tokens)
        self._token_gates = tuple(gate for gate in token_gates if gate)
        self._ramp: Gcra | None = None
        self._ramp_ends_at = math.inf
        self._frozen_until = -math.inf
        self._open = self._unlimited()
        self._waiters: deque[_Waiter] = deque()
        self._admitted = 0
        self._waited_s = 0.0

    def try_admit(self, tokens: int) -> bool:
        """Admit one request if that needs no waiting, as `admit` does; say whether it was admitted."""
        if self._waiters:
            return False
        if self._open:
            self._admitted += 1
            return True
        return not self._admit_or_wait(self._clock(), tokens)

    async def admit(self, tokens: int) -> None:
        """Return when one request that may use `tokens` tokens may be sent; it is charged then, not before.

        How many of the tokens go in and come out is not known yet, so each token limit is charged with all of them
        and `settle` puts it right. Being cancelled charges nothing and costs the others nothing.
        """
        if not self.try_admit(tokens):
            await self._queue(tokens)

    def settle(
        self, reserved: int, used: int | None, *, input_used: int | None = None, output_used: int | None = None
    ) -> None:
        """Correct the charge of an admitted request: `reserved` as given to `admit`, `used` as the server counted.

        A null `used` keeps the reserve. A null `input_used` or `output_used` is taken to be as large as `used`, the
        most it can be. A refund wakes the first who waits.
        """
        if not self._token_gates:
            return
        now = self._clock()
        _correct(self._tokens, now, reserved, used)
        _correct(self._input_tokens, now, reserved, used if input_used is None else input_used)
        _correct(self._output_tokens, now, reserved, used if output_used is None else output_used)
        if self._waiters:
            self._waiters[0].wake.set()

    def freeze(self, until: float) -> None:
        """Admit nothing before `until` (a time of `clock`, finite; the caller caps it). Never shortens a freeze.

        Afterwards requests start at the limit's own pace or, without a request limit, spread over a short ramp.
        """
        if not until > self._frozen_until:
            return
        self._frozen_until = until
        self._open = False
        if self._requests is None:
            self._ramp = Gcra(60.0 * RAMP_PER_S, burst_s=0.0)
        self._ramp_ends_at = until + RAMP_S

    def statistics(self) -> LimiterStatistics:
        """Return counts and limits as of now."""
        return LimiterStatistics(
            admitted=self._admitted,
            waiting=len(self._waiters),
            frozen_for_s=max(0.0, self._frozen_until - self._clock()),
            waited_s=self._waited_s,
            requests_per_minute=_rate(self._requests),
            tokens_per_minute=_rate(self._tokens),
            input_tokens_per_minute=_rate(self._input_tokens),
            output_tokens_per_minute=_rate(self._output_tokens),
        )

    async def _queue(self, tokens: int) -> None:
        waiter = _Waiter(anyio.Event())
        self._waiters.append(waiter)
        arrived = self._clock()
        try:
            while (wait_s := self._turn(waiter, tokens)) > 0.0:
                waiter.wake = anyio.Event()
                await self._pause(waiter.wake, wait_s)
            self._waited_s += self._clock() - arrived
        finally:
            self._leave(waiter)

    def _turn(self, waiter: _Waiter, tokens: int) -> float:
        # Only the first in the queue looks at the clock; the others sleep until the one before them leaves.
        return self._admit_or_wait(self._clock(), tokens) if self._waiters[0] is waiter else math.inf

    def _leave(self, waiter: _Waiter) -> None:
        self._waiters.remove(waiter)
        if self._waiters:
            self._waiters[0].wake.set()

    def _admit_or_wait(self, now: float, tokens: int) -> float:
        """Charge every limit and return 0.0, or charge none and return the seconds that are still missing."""
        if self._ramp_ends_at <= now:
            self._end_ramp()
        wait_s = self._wait_s(now, tokens)
        if wait_s > 0.0:
            return wait_s
        if pace := self._requests or self._ramp:
            pace.take(now, 1)
        for gate in self._token_gates:
            gate.take(now, tokens)
        self._admitted += 1
        return 0.0

    def _wait_s(self, now: float, tokens: int) -> float:
        # A freeze comes first: what the gates say before it ends is out of date when it ends.
        if self._frozen_until > now:
            return self._frozen_until - now
        pace = self._requests or self._ramp
        wait_s = pace.wait_s(now, 1) if pace else 0.0
        for gate in self._token_gates:
            wait_s = max(wait_s, gate.wait_s(now, tokens))
        return wait_s

    def _end_ramp(self) -> None:
        self._ramp = None
        self._ramp_ends_at = math.inf
        self._open = self._unlimited()

    def _unlimited(self) -> bool:
        return self._requests is None and not self._token_gates


@dataclass(slots=True, eq=False)
class _Waiter:
    """One queued request; `wake` is replaced before each sleep, since an event is set only once."""

    wake: anyio.Event


def _gate(per_minute: float | None) -> Gcra | None:
    return None if per_minute is None else Gcra(per_minute)


def _rate(gate: Gcra | None) -> float | None:
    return gate.per_minute if gate else None


def _correct(gate: Gcra | None, now: float, reserved: int, used: int | None) -> None:
    if gate is None or used is None:
        return
    if used < reserved:
        gate.give(reserved - used)
    elif used > reserved:
        # No server admits more than a minute's limit at once; a nonsensical count must not stop the run for hours.
        gate.take(now, min(used - reserved, gate.per_minute))
