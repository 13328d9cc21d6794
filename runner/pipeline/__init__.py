"""Owns the main job: dataset in, sealed Parquet out, resumable at any instant."""

from __future__ import annotations

from runner.pipeline.execute import arun, run
from runner.pipeline.locate import Where, list_runs, status_of
from runner.pipeline.opening import RunOptions, open_existing, sealing_of
from runner.pipeline.summary import RunSummary
from runner.pipeline.survey import rehearse

__all__ = [
    "RunOptions",
    "RunSummary",
    "Where",
    "arun",
    "list_runs",
    "open_existing",
    "rehearse",
    "run",
    "sealing_of",
    "status_of",
]
