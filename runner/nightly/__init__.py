"""Owns a night: the configs of a suite run one by one, judged, told and kept, however the night goes."""

from __future__ import annotations

from runner.nightly.night import NightOptions, run_night
from runner.nightly.record import ConfigRecord, NightRecord, records
from runner.nightly.suite import Suite, load_suite
from runner.nightly.ways import Ways

__all__ = [
    "ConfigRecord",
    "NightOptions",
    "NightRecord",
    "Suite",
    "Ways",
    "load_suite",
    "records",
    "run_night",
]
