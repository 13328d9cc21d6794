"""Owns the counters of a session, and what is shown of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from runner.awake import awake_s
from runner.progress import Snapshot

if TYPE_CHECKING:
    from runner.limiter import PoolStatistics
    from runner.pipeline.sending.sessionplan import Work
    from runner.prices import Price
    from runner.records import Usage


@dataclass(slots=True)
class Counters:
    """What a session has done so far; `added` counts requests for single choices beyond one for each case.

    Times are those of `awake`; `last_answer_at` is 0 before the first answer. `unpriced` answers have no known cost.
    """

    price: Price | None = None
    ended: int = 0
    added: int = 0
    answered: int = 0
    failed: int = 0
    in_flight: int = 0
    attempts: int = 0
    retries: int = 0
    rate_limited: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    last_answer_at: float = 0.0
    begun: float = field(default_factory=awake_s)

    def note_answer(self, usage: Usage) -> None:
        """Count an answer and what it used."""
        self.answered += 1
        self.last_answer_at = awake_s()
        self.tokens += usage.total_tokens or 0
        cost = self.price.cost(usage) if self.price else None
        if cost is None:
            self.unpriced += 1
        else:
            self.cost_usd += cost

    def note_failure(self, http_status: int | None) -> None:
        """Count a failed attempt."""
        self.rate_limited += http_status == HTTPStatus.TOO_MANY_REQUESTS


def snapshot_of(counters: Counters, work: Work, *, waiting: int, servers: PoolStatistics) -> Snapshot:
    """Return the counters as of now."""
    return Snapshot(
        done=work.already_done + counters.ended,
        total=work.already_done + max(work.cases + counters.added, counters.ended),
        already_done=work.already_done,
        answered=counters.answered,
        failed=counters.failed,
        in_flight=counters.in_flight,
        waiting=waiting,
        retries=counters.retries,
        rate_limited=counters.rate_limited,
        tokens=counters.tokens,
        cost_usd=None if counters.price is None or counters.unpriced else counters.cost_usd,
        elapsed_s=awake_s() - counters.begun - servers.paused_s,
        frozen_for_s=servers.frozen_for_s,
        paused=servers.paused,
        servers=len(servers.servers),
        out=servers.out,
    )
