"""Owns when a request may be sent to one server, and what is learnt from how it ended.

Limits are of three kinds, and a request goes when all of them let it: rates that the config or the server's headers
state (`allowance`), a rate that is read off refusals (`governor`), and how many may be under way (`concurrency`). What
is charged is charged for all limits or for none. Nothing here waits: `pool` keeps the queue, and asks again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from runner.awake import awake_s
from runner.limiter.allowance import BURST_S, Allowance
from runner.limiter.concurrency import Concurrency
from runner.limiter.demand import Metered
from runner.limiter.gcra import Gcra
from runner.limiter.governor import Governor
from runner.limiter.headers import Unit, limits_in
from runner.limiter.refunds import Refunds
from runner.limiter.reserve import Reserve
from runner.records import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.limiter.policy import Limits

_LEAST_SPARE = 8
# After a freeze without any rate, nothing else would keep the waiters from starting in one instant.
RAMP_PER_S = 50
RAMP_S = 2.0

Clock = Callable[[], float]

# Whoever ends has a successor a moment later; so many under way are as many as allowed.
_NEARLY = 0.8
_NO_USAGE = Usage()
_NO_HEADERS: dict[str, str] = {}
_NOTHING_TAKEN = (0.0, 0.0, 0.0, 0.0)


class Verdict(Enum):
    """How an attempt ended, as far as a limit is concerned."""

    ANSWERED = auto()
    REFUSED = auto()  # 429: too many
    OVERLOADED = auto()  # 503, 529, a time-out, a connection that broke
    FAILED = auto()  # any other way, which says nothing of limits


@dataclass(slots=True, eq=False)
class Ticket:
    """An admitted request: when it went out, its number, what it was charged, and what had been taken with it."""

    sent_at: float
    number: int
    prompt_estimate: int
    prompt_tokens: int
    answer_tokens: int
    taken: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LimiterStatistics:
    """What the limiter did so far: requests admitted and under way, seconds of freeze left.

    `paused_s` sums over pauses, one that lasts included. Limits are those in force, null where there is none: rates per
    minute as the config or the server state them, `measured_per_minute` as refusals show it.
    """

    admitted: int
    in_flight: int
    max_in_flight: int
    frozen_for_s: float
    paused: bool
    paused_s: float
    requests_per_minute: float | None
    tokens_per_minute: float | None
    input_tokens_per_minute: float | None
    output_tokens_per_minute: float | None
    measured_per_minute: float | None


class Limiter:
    """Admits requests to one server, and hears how each of them ended.

    `clock` gives monotonic seconds, by default those of `awake`. `in_flight` is how many are under way.
    """

    def __init__(self, limits: Limits, clock: Clock = awake_s) -> None:
        self._clock = clock
        self._requests = Allowance(Unit.REQUESTS, limits.requests_per_minute)
        self._tokens = (
            Allowance(Unit.TOKENS, limits.tokens_per_minute),
            Allowance(Unit.INPUT_TOKENS, limits.input_tokens_per_minute),
            Allowance(Unit.OUTPUT_TOKENS, limits.output_tokens_per_minute),
        )
        now = clock()
        self._concurrency: Concurrency | None = None
        self._most = 0
        if limits.max_in_flight == "auto":
            self._concurrency = Concurrency(now)
        else:
            self._most = limits.max_in_flight
        known = any(one.per_minute is not None for one in (self._requests, *self._tokens))
        if self._concurrency is not None and known:
            self._concurrency.begin_at_a_rate(now)
        self._governor = Governor(now, ramp=self._concurrency is not None and not known)
        self._pace = Gcra(60.0, burst_s=BURST_S)
        self._reserve = Reserve()
        self._refunds = Refunds()
        self._ramp: Gcra | None = None
        self._ramp_ends_at = math.inf
        self._frozen_until = -math.inf
        self._paused_at: float | None = None
        self._paused_s = 0.0
        self._shareless = False
        self.in_flight = 0
        self._admitted = 0
        self._unlimited = False
        self._look_again()

    @property
    def slots(self) -> int:
        """How many requests may be under way at once, as of now."""
        return self._most if self._concurrency is None else self._concurrency.limit

    @property
    def workers(self) -> int:
        """How many should ask for admission, so that as many as may be are under way.

        With `auto` that is more than the slots: whoever waits until an answer is on the disk has nothing under way.
        """
        return self._most if self._concurrency is None else self.slots + max(_LEAST_SPARE, self.slots // 2)

    def ask(self, prompt: int, answer: int | None = 0) -> Ticket | float:
        """Admit one request and charge every limit for it; or charge none and return the seconds to wait.

        `prompt` estimates its prompt in tokens, `answer` is the most that it lets the server answer, null where it sets
        no bound. An infinite wait ends with `done`, `unpause`, `change` or `share`. What is admitted ends with `done`.
        """
        if self._paused_at is not None or self._shareless or self.in_flight >= self.slots:
            return math.inf
        said = self._admit_or_wait(self._clock(), prompt, answer)
        if isinstance(said, Ticket):
            self.in_flight += 1
        return said

    def ask_next(self, prompt: int) -> Ticket | float:
        """Admit another request in the place of one that was admitted and has not ended; else as `ask`.

        It has its slot, whatever their number is by now: those that wait in theirs would wait for each other.
        """
        held = self._paused_at is not None or self._shareless
        return math.inf if held else self._admit_or_wait(self._clock(), prompt, 0)

    def done(
        self,
        ticket: Ticket,
        verdict: Verdict,
        usage: Usage = _NO_USAGE,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        """Hear how an admitted request ended: its slot is free, its charge is put right, and limits are learnt."""
        now = self._clock()
        full = self._concurrency is not None and self.in_flight >= _NEARLY * self._concurrency.limit
        self.in_flight -= 1
        if verdict is Verdict.REFUSED:
            self._refused(now, ticket)
        elif verdict is Verdict.ANSWERED:
            self._settle(now, ticket, usage)
        if headers:
            self._hear(now, ticket, headers)
        if self._concurrency is None:
            pass
        elif verdict is Verdict.ANSWERED:
            self._concurrency.answered(now, ticket.sent_at, usage.completion_tokens or 1, full=full)
        elif verdict is Verdict.OVERLOADED:
            self._concurrency.overloaded(now, ticket.sent_at)

    def freeze(self, until: float) -> None:
        """Admit nothing before `until` (a time of `clock`, finite; the caller caps it). Never shortens a freeze.

        Afterwards requests start at a limit's own pace or, without any, spread over a short ramp.
        """
        if not until > self._frozen_until:
            return
        self._frozen_until = until
        if self._requests.per_minute is None:
            self._ramp = Gcra(60.0 * RAMP_PER_S, burst_s=0.0)
        self._ramp_ends_at = until + RAMP_S
        self._unlimited = False

    def pause(self) -> None:
        """Admit nothing until `unpause`. What is under way ends as it would."""
        if self._paused_at is None:
            self._paused_at = self._clock()
            self._unlimited = False

    def unpause(self) -> None:
        """Go on after `pause`, at the pace of before: no limit grows while nothing is sent."""
        if self._paused_at is None:
            return
        now = self._clock()
        self._paused_s += now - self._paused_at
        self._governor.skip(now, now - self._paused_at)
        self._paused_at = None
        self._look_again()

    def change(self, limits: Limits) -> None:
        """Let other limits hold from now on."""
        self._requests.limit_to(limits.requests_per_minute)
        typed = (limits.tokens_per_minute, limits.input_tokens_per_minute, limits.output_tokens_per_minute)
        for allowance, per_minute in zip(self._tokens, typed, strict=True):
            allowance.limit_to(per_minute)
        if limits.max_in_flight == "auto":
            self._concurrency = self._concurrency or Concurrency(self._clock())
        else:
            self._concurrency, self._most = None, limits.max_in_flight
        self._look_again()

    def share(self, shares: Mapping[Unit, float]) -> None:
        """Use these fractions of the rates from now on, of others all; where one is 0 nothing is admitted."""
        now = self._clock()
        self._shareless = not all(share > 0.0 for share in shares.values())
        for allowance in (self._requests, *self._tokens):
            share = shares.get(allowance.unit, 1.0)
            if share > 0.0:
                allowance.set_share(now, share)
        self._look_again()

    def metered(self) -> dict[Unit, Metered]:
        """Return how each limit that has a rate stands."""
        return {
            one.unit: Metered(one.whole_per_minute, one.per_minute, one.charged)
            for one in (self._requests, *self._tokens)
            if one.whole_per_minute is not None and one.per_minute is not None
        }

    def statistics(self) -> LimiterStatistics:
        """Return counts and limits as of now."""
        now = self._clock()
        tokens, input_tokens, output_tokens = (one.per_minute for one in self._tokens)
        measured = self._governor.measured
        return LimiterStatistics(
            admitted=self._admitted,
            in_flight=self.in_flight,
            max_in_flight=self.slots,
            frozen_for_s=max(0.0, self._frozen_until - now),
            paused=self._paused_at is not None,
            paused_s=self._paused_s + (0.0 if self._paused_at is None else now - self._paused_at),
            requests_per_minute=self._requests.per_minute,
            tokens_per_minute=tokens,
            input_tokens_per_minute=input_tokens,
            output_tokens_per_minute=output_tokens,
            measured_per_minute=None if measured is None else 60.0 * measured,
        )

    # ------------------------------------------------------------------ admission

    def _admit_or_wait(self, now: float, prompt: int, answer: int | None) -> Ticket | float:
        """Charge every limit and return the ticket, or charge none and return the seconds that are still missing."""
        if self._unlimited:
            self._admitted += 1
            return Ticket(now, self._governor.sent(now), prompt, 0, 0, _NOTHING_TAKEN)
        if self._ramp_ends_at <= now:
            self._ramp, self._ramp_ends_at = None, math.inf
            self._look_again()
        if self._frozen_until > now:
            # A freeze comes first: what the gates say before it ends is out of date when it ends.
            return self._frozen_until - now
        prompt_tokens, answer_tokens = self._reserve.prompt(prompt), self._reserve.answer(answer)
        costs = (prompt_tokens + answer_tokens, prompt_tokens, answer_tokens)
        pace = self._governed(now) or self._ramp
        wait_s = max(self._requests.wait_s(now, 1), pace.wait_s(now, 1) if pace else 0.0)
        for allowance, cost in zip(self._tokens, costs, strict=True):
            wait_s = max(wait_s, allowance.wait_s(now, cost))
        if wait_s > 0.0:
            return wait_s
        if pace:
            pace.take(now, 1)
        self._requests.take(now, 1)
        for allowance, cost in zip(self._tokens, costs, strict=True):
            allowance.take(now, cost)
        self._admitted += 1
        self._refunds.sent()
        taken = (self._requests.taken, *(one.taken for one in self._tokens))
        return Ticket(now, self._governor.sent(now), prompt, prompt_tokens, answer_tokens, taken)

    def _governed(self, now: float) -> Gcra | None:
        """Return the bucket of the rate that refusals show; null where nothing is refused."""
        if not self._governor.active:
            self._look_again()
            return None
        rate = self._governor.rate(now)
        if rate == math.inf:
            return None
        self._pace.change(60.0 * rate, burst_s=BURST_S)
        return self._pace

    def _look_again(self) -> None:
        """See whether anything but the slots limits what goes out; most servers have no more than that."""
        self._unlimited = not (
            self._paused_at is not None
            or self._shareless
            or self._governor.active
            or self._ramp_ends_at < math.inf
            or any(one.per_minute is not None for one in (self._requests, *self._tokens))
        )

    # ------------------------------------------------------------------ what is learnt

    def _refused(self, now: float, ticket: Ticket) -> None:
        if any(one.per_minute is not None for one in self._tokens):
            # It may be that the server gave nothing back of what answers did not use: then the rate is right.
            explained = self._refunds.refused()
            for allowance in self._tokens:
                allowance.empty(now)
            if explained:
                return
        if not self._governor.refused(now, ticket.sent_at, ticket.number):
            return
        self._pace.set_level(now, min(0.0, self._pace.level(now)))
        self._requests.empty(now)
        self._unlimited = False

    def _settle(self, now: float, ticket: Ticket, usage: Usage) -> None:
        """Learn what prompts and answers take, and correct the charge by it.

        A null count keeps what was reserved. What an answer did not use of the length it was allowed is given back
        until a refusal shows that the server counts it.
        """
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        if prompt is None and completion is None:
            return
        self._reserve.learn(ticket.prompt_estimate, prompt, completion)
        if self._unlimited or all(one.per_minute is None for one in self._tokens):
            return
        prompt = ticket.prompt_tokens if prompt is None else prompt
        completion = ticket.answer_tokens if completion is None else completion
        if not self._refunds.given:
            completion = max(completion, ticket.answer_tokens)
        reserved = (ticket.prompt_tokens + ticket.answer_tokens, ticket.prompt_tokens, ticket.answer_tokens)
        for allowance, before, used in zip(
            self._tokens, reserved, (prompt + completion, prompt, completion), strict=True
        ):
            allowance.correct(now, before, used)

    def _hear(self, now: float, ticket: Ticket, headers: Mapping[str, str]) -> None:
        for seen in limits_in(headers, now=datetime.now(UTC)):
            place = _PLACES[seen.unit]
            allowance = self._requests if place == 0 else self._tokens[place - 1]
            allowance.hear(now, seen, sent_at=ticket.sent_at, taken=ticket.taken[place])
            self._unlimited = False
        if self._requests.told is not None:
            self._governor.end_ramp()
            if self._concurrency is not None:
                self._concurrency.begin_at_a_rate(now)


_PLACES = {Unit.REQUESTS: 0, Unit.TOKENS: 1, Unit.INPUT_TOKENS: 2, Unit.OUTPUT_TOKENS: 3}
