"""Owns the simulator: a local OpenAI-compatible server with limits, latency and faults, for rehearsal and tests."""

from __future__ import annotations

from runner.simulate.answers import AnswerStyle
from runner.simulate.contentstore import ContentRules
from runner.simulate.details import FaultDetails
from runner.simulate.dialects import DIALECTS, Unsupported
from runner.simulate.faults import KINDS, FaultRules
from runner.simulate.latency import Fixed, Latency, Lognormal, Uniform, distribution_from_text
from runner.simulate.ledger import Entry, Ledger, Statistics
from runner.simulate.limits import Limits
from runner.simulate.options import SimulatorOptions
from runner.simulate.prompts import request_digest
from runner.simulate.scoring import LanguageModel
from runner.simulate.server import Simulator, open_simulator, serve
from runner.simulate.vectors import VectorStyle, vector_of

__all__ = [
    "DIALECTS",
    "KINDS",
    "AnswerStyle",
    "ContentRules",
    "Entry",
    "FaultDetails",
    "FaultRules",
    "Fixed",
    "LanguageModel",
    "Latency",
    "Ledger",
    "Limits",
    "Lognormal",
    "Simulator",
    "SimulatorOptions",
    "Statistics",
    "Uniform",
    "Unsupported",
    "VectorStyle",
    "distribution_from_text",
    "open_simulator",
    "request_digest",
    "serve",
    "vector_of",
]
