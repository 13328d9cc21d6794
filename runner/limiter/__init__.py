"""Owns the pace of a run: rate limits, what may be under way at once, and what others with the same key leave of it."""

from __future__ import annotations

from runner.limiter.demand import Demand
from runner.limiter.gcra import Gcra
from runner.limiter.headers import Unit
from runner.limiter.leases import Group, Lease, LockBusyError, sharing_with
from runner.limiter.limiter import Limiter, LimiterStatistics, Ticket, Verdict
from runner.limiter.policy import Limits
from runner.limiter.shares import Claim

__all__ = [
    "Claim",
    "Demand",
    "Gcra",
    "Group",
    "Lease",
    "Limiter",
    "LimiterStatistics",
    "Limits",
    "LockBusyError",
    "Ticket",
    "Unit",
    "Verdict",
    "sharing_with",
]
