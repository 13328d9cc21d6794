"""Owns which server a request goes to, and when: one queue before the limiters and breakers of a pool.

There is one queue, first come first served, for all servers together. The first in it asks the servers, those with the
least under way for their weight first, and takes the first that lets it go; so whatever lets anybody go (an answer that
frees a slot, a limit that was raised, the end of a pause) has to wake the first and nobody else, and what only time
brings the first sleeps for. Whoever leaves the queue wakes the next. A request never waits for one server while another
would take it, which is why no two of them can wait for each other. One server is a pool of one.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from runner.awake import awake_s
from runner.limiter.breaker import Breaker, BreakerPolicy, Health
from runner.limiter.limiter import Ticket, Verdict
from runner.records import Usage

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from runner.limiter.breaker import BreakerStatistics
    from runner.limiter.headers import Unit
    from runner.limiter.limiter import Limiter, LimiterStatistics
    from runner.limiter.policy import Limits

Clock = Callable[[], float]
Pause = Callable[[anyio.Event, float], Awaitable[None]]

_NO_USAGE = Usage()
_NO_HEADERS: dict[str, str] = {}


@dataclass(slots=True, eq=False)
class Replica:
    """One server: its number and name, its share, its own limits, and whether it is out.

    `refused` says that the last connection was refused. `passed` orders servers that have equally little to do: each
    request puts it on by the inverse of the weight.
    """

    number: int
    name: str
    limiter: Limiter
    weight: float = 1.0
    breaker: Breaker = field(default_factory=Breaker)
    refused: bool = False
    passed: float = 0.0

    @property
    def out(self) -> bool:
        """Whether the breaker holds it back."""
        return self.breaker.opened_at is not None


@dataclass(slots=True, eq=False)
class Turn:
    """An admitted request: the server that it goes to, that server's ticket, and its number as a probe (0: none)."""

    replica: Replica
    ticket: Ticket
    probe: int


@dataclass(frozen=True, slots=True)
class ReplicaStatistics:
    """One server as of now."""

    name: str
    weight: float
    limiter: LimiterStatistics
    breaker: BreakerStatistics


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """All servers as of now; `waited_s` sums over admitted requests, `frozen_for_s` is until the first server thaws.

    `paused_s` sums over pauses, one that lasts included.
    """

    admitted: int
    waiting: int
    in_flight: int
    max_in_flight: int
    frozen_for_s: float
    paused: bool
    paused_s: float
    waited_s: float
    out: tuple[str, ...]
    servers: tuple[ReplicaStatistics, ...]


def shared_limits(limits: Limits, weights: Sequence[float]) -> list[Limits]:
    """Return the limits of each server of a pool: rates are a server's own, requests under way go by its weight.

    A run that is held back by nothing else keeps every server as busy as it may be. So what is typed as `max_in_flight`
    is that of the heaviest server, and the others have their share of it, one at least.
    """
    most, heaviest = limits.max_in_flight, max(weights)
    if most == "auto":
        return [limits] * len(weights)
    return [replace(limits, max_in_flight=max(1, round(most * weight / heaviest))) for weight in weights]


async def pause(wake: anyio.Event, timeout_s: float) -> None:
    """Sleep until `wake` is set, `timeout_s` seconds at most (infinite: until it is set)."""
    with anyio.move_on_after(timeout_s):
        await wake.wait()


class Pool:
    """Admits requests to the servers of a pool in the order they came, and hears how each of them ended.

    `clock` gives monotonic seconds, by default those of `awake`, and is the limiters' own; `pause` sleeps on that
    clock. Not for use from several threads or event loops.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        policy: BreakerPolicy | None = None,
        *,
        clock: Clock = awake_s,
        pause: Pause = pause,
    ) -> None:
        self.replicas = tuple(replicas)
        self.policy = policy or BreakerPolicy()
        self._only = self.replicas[0] if len(self.replicas) == 1 else None
        self._clock = clock
        self._pause = pause
        self._waiters: deque[_Waiter] = deque()
        self._extra: set[_Waiter] = set()
        self._virtual = 0.0
        self._reached = False
        self._waited_s = 0.0
        self._paused_at: float | None = None

    @property
    def slots(self) -> int:
        """How many requests may be under way at once, as of now, at the servers that are not out; 1 at least."""
        if self._only is not None:
            return self._only.limiter.slots
        return sum(one.limiter.slots for one in self.replicas if not one.out) or 1

    @property
    def workers(self) -> int:
        """How many should ask for admission, so that as many as may be are under way; as for `slots`, 1 at least."""
        if self._only is not None:
            return self._only.limiter.workers
        return sum(one.limiter.workers for one in self.replicas if not one.out) or 1

    # ------------------------------------------------------------------ admission

    def try_admit(self, prompt: int, answer: int | None = 0, *, last: Replica | None = None) -> Turn | None:
        """Admit one request if that needs no waiting, as `admit` does; null where it does."""
        if self._waiters:
            return None
        said = self._ask(self._only, prompt, answer) if self._only else self._choose(prompt, answer, last)
        return said if isinstance(said, Turn) else None

    async def admit(self, prompt: int, answer: int | None = 0, *, last: Replica | None = None) -> Turn:
        """Return when one request may be sent, and where; it is charged then, not before.

        `prompt` estimates its prompt in tokens, `answer` is the most that it lets the server answer, null where it sets
        no bound. `last` is the server that failed at it, which is asked after all others. Being cancelled charges
        nothing and costs the others nothing. What is admitted ends with `done`.
        """
        turn = self.try_admit(prompt, answer, last=last)
        if turn is not None:
            return turn
        waiter = _Waiter(anyio.Event())
        self._waiters.append(waiter)
        arrived = self._clock()
        try:
            while not isinstance(said := self._turn(waiter, prompt, answer, last), Turn):
                waiter.wake = anyio.Event()
                await self._pause(waiter.wake, said)
            self._waited_s += self._clock() - arrived
            return said
        finally:
            self._waiters.remove(waiter)
            self._wake_first()

    async def admit_next(self, turn: Turn, prompt: int) -> float:
        """Return when another request may go to the same server, in the place of one that has ended there.

        It keeps its slot, so it waits for rates alone, outside the queue: it holds up nobody. Returns the seconds that
        it waited.
        """
        limiter, waiter, arrived = turn.replica.limiter, _Waiter(anyio.Event()), self._clock()
        self._extra.add(waiter)
        try:
            while not isinstance(said := limiter.ask_next(prompt), Ticket):
                waiter.wake = anyio.Event()
                await self._pause(waiter.wake, said)
        finally:
            self._extra.discard(waiter)
        return self._clock() - arrived

    # ------------------------------------------------------------------ what is heard

    def done(
        self, turn: Turn, verdict: Verdict, usage: Usage = _NO_USAGE, headers: Mapping[str, str] = _NO_HEADERS
    ) -> None:
        """Hear how an admitted request ended. Before one that failed, `fail` hears what that says of the server."""
        replica = turn.replica
        if verdict is Verdict.ANSWERED:
            replica.refused, self._reached = False, True
            replica.breaker.succeed(self._clock())
        elif turn.probe:
            replica.breaker.lose(turn.probe)
        if verdict is Verdict.OVERLOADED and replica.out:
            verdict = Verdict.FAILED  # what a server does that is out says nothing of how much it serves at once
        replica.limiter.done(turn.ticket, verdict, usage, headers)
        if self._waiters:
            self._waiters[0].wake.set()

    def fail(self, turn: Turn, health: Health, row: Hashable, *, reached: bool = True) -> None:
        """Hear what a failed attempt of this row says of its server; `reached`: a connection was made."""
        replica = turn.replica
        replica.refused = not reached
        self._reached = self._reached or reached
        if health is Health.SOUND:
            replica.breaker.succeed(self._clock())
        elif health is not Health.UNKNOWN:
            blamed = row if health is Health.BROKEN else None
            chance = random.random()  # noqa: S311 - no secret hangs on a wait
            replica.breaker.fail(self._clock(), turn.probe, blamed, self.policy, random=chance)

    def nobody_there(self, replica: Replica) -> bool:
        """Say whether, with a connection to this one refused, no server has been reached and each has refused one."""
        return not self._reached and all(one.refused for one in self.replicas if one is not replica)

    def elsewhere(self, replica: Replica) -> bool:
        """Say whether another server may take what this one did not."""
        return self._only is None and any(
            one is not replica and not one.out and not one.refused for one in self.replicas
        )

    @property
    def reached(self) -> bool:
        """Whether any server was reached so far."""
        return self._reached

    def out_for_s(self) -> float:
        """Return for how long every server has been out; 0.0 where one is not."""
        opened = [one.breaker.opened_at for one in self.replicas]
        since = [at for at in opened if at is not None]
        return self._clock() - max(since) if len(since) == len(opened) else 0.0

    # ------------------------------------------------------------------ steering

    def pause(self) -> None:
        """Admit nothing until `unpause`. What is under way ends as it would."""
        self._paused_at = self._clock() if self._paused_at is None else self._paused_at
        for one in self.replicas:
            one.limiter.pause()

    def unpause(self) -> None:
        """Go on after `pause`, at the pace of before; no server was out for longer while nobody asked it."""
        if self._paused_at is None:
            return
        for one in self.replicas:
            one.limiter.unpause()
            one.breaker.skip(self._paused_at, self._clock())
        self._paused_at = None
        self._wake_all()

    def change(self, limits: Limits) -> None:
        """Let other limits hold at every server from now on."""
        shares = shared_limits(limits, [one.weight for one in self.replicas])
        for one, share in zip(self.replicas, shares, strict=True):
            one.limiter.change(share)
        self._wake_all()

    def share(self, replica: Replica, shares: Mapping[Unit, float]) -> None:
        """Use these fractions of a server's rates from now on, of others all; where one is 0 nothing is admitted."""
        replica.limiter.share(shares)
        self._wake_all()

    def waits_for_rate(self, replica: Replica) -> bool:
        """Say whether requests wait though this server has free slots, and nobody holds them up."""
        limiter = replica.limiter
        return bool(self._waiters) and self._paused_at is None and limiter.in_flight < limiter.slots

    def statistics(self) -> PoolStatistics:
        """Return counts, limits and states as of now."""
        now = self._clock()
        servers = tuple(
            ReplicaStatistics(one.name, one.weight, one.limiter.statistics(), one.breaker.statistics(now))
            for one in self.replicas
        )
        return PoolStatistics(
            admitted=sum(one.limiter.admitted for one in servers),
            waiting=len(self._waiters),
            in_flight=sum(one.limiter.in_flight for one in servers),
            max_in_flight=self.slots,
            frozen_for_s=min(one.limiter.frozen_for_s for one in servers),
            paused=self._paused_at is not None,
            paused_s=servers[0].limiter.paused_s,
            waited_s=self._waited_s,
            out=tuple(one.name for one in self.replicas if one.out),
            servers=servers,
        )

    # ------------------------------------------------------------------ private

    def _turn(self, waiter: _Waiter, prompt: int, answer: int | None, last: Replica | None) -> Turn | float:
        # Only the first in the queue looks at the clock; the others sleep until the one before them leaves.
        return self._choose(prompt, answer, last) if self._waiters[0] is waiter else math.inf

    def _choose(self, prompt: int, answer: int | None, last: Replica | None) -> Turn | float:
        """Return the turn at the first server that lets a request go, or the seconds until one may."""
        if self._only is not None:
            return self._ask(self._only, prompt, answer)
        wait_s = math.inf
        for replica in sorted(self.replicas, key=lambda one: self._rank(one, last)):
            said = self._ask(replica, prompt, answer)
            if isinstance(said, Turn):
                self._virtual = max(self._virtual, replica.passed)
                replica.passed = self._virtual + 1.0 / replica.weight
                return said
            wait_s = min(wait_s, said)
        return wait_s

    def _rank(self, replica: Replica, last: Replica | None) -> tuple[bool, float, float]:
        # A server that comes back is level with the others at once: it is not sent all that it has missed.
        return replica is last, replica.limiter.in_flight / replica.weight, max(self._virtual, replica.passed)

    def _ask(self, replica: Replica, prompt: int, answer: int | None) -> Turn | float:
        breaker = replica.breaker
        if breaker.opened_at is None:
            said = replica.limiter.ask(prompt, answer)
            return Turn(replica, said, 0) if isinstance(said, Ticket) else said
        if (wait_s := breaker.wait_s(self._clock())) > 0.0:
            return wait_s
        said = replica.limiter.ask(prompt, answer)
        return Turn(replica, said, breaker.admit()) if isinstance(said, Ticket) else said

    def _wake_first(self) -> None:
        if self._waiters:
            self._waiters[0].wake.set()

    def _wake_all(self) -> None:
        self._wake_first()
        for waiter in self._extra:
            waiter.wake.set()


@dataclass(slots=True, eq=False)
class _Waiter:
    """One that waits; `wake` is replaced before each sleep, since an event is set only once."""

    wake: anyio.Event
