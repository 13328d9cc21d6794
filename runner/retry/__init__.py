"""Owns what a failure means and what follows from it: classes, waits, and the decision to send again."""

from __future__ import annotations

from runner.retry.budget import RetryBudget, cost_of
from runner.retry.classify import classify_status, error_in_body
from runner.retry.poison import PoisonWatch, Streak, as_poison
from runner.retry.policy import RetryPolicy
from runner.retry.refusal import Refusal, find_refusal
from runner.retry.retry_after import rate_limit_reset_s, retry_after_s
from runner.retry.schedule import Decision, GiveUp, History, Retry, Stop, decide

__all__ = [
    "Decision",
    "GiveUp",
    "History",
    "PoisonWatch",
    "Refusal",
    "Retry",
    "RetryBudget",
    "RetryPolicy",
    "Stop",
    "Streak",
    "as_poison",
    "classify_status",
    "cost_of",
    "decide",
    "error_in_body",
    "find_refusal",
    "rate_limit_reset_s",
    "retry_after_s",
]
