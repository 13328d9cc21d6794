"""Owns the connection test: at most 15 small requests that show what an endpoint can do before a run pays for it."""

from __future__ import annotations

from runner.pipeline.probe.asking import MOST_REQUESTS, Target
from runner.pipeline.probe.course import probe
from runner.pipeline.probe.finding import FAILED, LIMITED, PASSED, SKIPPED, UNCLEAR, Check, Probe

__all__ = [
    "FAILED",
    "LIMITED",
    "MOST_REQUESTS",
    "PASSED",
    "SKIPPED",
    "UNCLEAR",
    "Check",
    "Probe",
    "Target",
    "probe",
]
