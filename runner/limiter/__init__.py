"""Owns the pace of a run: limits, which of several servers is asked, and what others with the same key leave of it."""

from __future__ import annotations

from runner.limiter.breaker import Breaker, BreakerPolicy, Health
from runner.limiter.demand import Demand
from runner.limiter.gcra import Gcra
from runner.limiter.headers import Unit
from runner.limiter.leases import Group, Lease, LockBusyError, sharing_with
from runner.limiter.limiter import Limiter, LimiterStatistics, Ticket, Verdict
from runner.limiter.policy import Limits
from runner.limiter.pool import Pool, PoolStatistics, Replica, Turn, shared_limits
from runner.limiter.shares import Claim

__all__ = [
    "Breaker",
    "BreakerPolicy",
    "Claim",
    "Demand",
    "Gcra",
    "Group",
    "Health",
    "Lease",
    "Limiter",
    "LimiterStatistics",
    "Limits",
    "LockBusyError",
    "Pool",
    "PoolStatistics",
    "Replica",
    "Ticket",
    "Turn",
    "Unit",
    "Verdict",
    "shared_limits",
    "sharing_with",
]
