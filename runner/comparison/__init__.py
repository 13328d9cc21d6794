"""Owns comparing two runs: pairs, differences with their intervals, verdicts, and the run to compare with."""

from __future__ import annotations

from runner.comparison.baseline import last_good
from runner.comparison.compare import compare
from runner.comparison.model import Comparison, Difference, Flip, RunFacts, ScoreComparison

__all__ = ["Comparison", "Difference", "Flip", "RunFacts", "ScoreComparison", "compare", "last_good"]
