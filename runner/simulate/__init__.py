"""Owns the simulator: a local OpenAI-compatible server with limits, latency and faults, for rehearsal and tests."""

from __future__ import annotations

from runner.simulate.answers import AnswerStyle
from runner.simulate.contentstore import ContentRules
from runner.simulate.details import FaultDetails
from runner.simulate.dialects import DIALECTS, Unsupported
from runner.simulate.faults import KINDS, FaultRules, FaultSpan, fault_span_from_text, fraction_from_text
from runner.simulate.latency import Fixed, Latency, Lognormal, Pareto, Uniform, distribution_from_text
from runner.simulate.ledger import Entry, Ledger, Statistics
from runner.simulate.likenesses import LIKENESSES, likeness
from runner.simulate.limits import LimitChange, Limits, change_from_text
from runner.simulate.notices import NOTICES
from runner.simulate.options import SimulatorOptions
from runner.simulate.prompts import request_digest
from runner.simulate.scoring import LanguageModel
from runner.simulate.server import Simulator, open_simulator, serve
from runner.simulate.vectors import VectorStyle, vector_of

__all__ = [
    "DIALECTS",
    "KINDS",
    "LIKENESSES",
    "NOTICES",
    "AnswerStyle",
    "ContentRules",
    "Entry",
    "FaultDetails",
    "FaultRules",
    "FaultSpan",
    "Fixed",
    "LanguageModel",
    "Latency",
    "Ledger",
    "LimitChange",
    "Limits",
    "Lognormal",
    "Pareto",
    "Simulator",
    "SimulatorOptions",
    "Statistics",
    "Uniform",
    "Unsupported",
    "VectorStyle",
    "change_from_text",
    "distribution_from_text",
    "fault_span_from_text",
    "fraction_from_text",
    "likeness",
    "open_simulator",
    "request_digest",
    "serve",
    "vector_of",
]
