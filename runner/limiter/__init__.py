"""Owns the pace of a run: rate limits, what may be under way at once, and which of several servers is asked."""

from __future__ import annotations

from runner.limiter.breaker import Breaker, BreakerPolicy, Health
from runner.limiter.gcra import Gcra
from runner.limiter.limiter import Limiter, LimiterStatistics, Ticket, Verdict
from runner.limiter.policy import Limits
from runner.limiter.pool import Pool, PoolStatistics, Replica, Turn, shared_limits

__all__ = [
    "Breaker",
    "BreakerPolicy",
    "Gcra",
    "Health",
    "Limiter",
    "LimiterStatistics",
    "Limits",
    "Pool",
    "PoolStatistics",
    "Replica",
    "Ticket",
    "Turn",
    "Verdict",
    "shared_limits",
]
