"""Owns the pace of a run: rate limits and what may be under way at once."""

from __future__ import annotations

from runner.limiter.gcra import Gcra
from runner.limiter.limiter import Limiter, LimiterStatistics, Ticket, Verdict
from runner.limiter.policy import Limits

__all__ = ["Gcra", "Limiter", "LimiterStatistics", "Limits", "Ticket", "Verdict"]
