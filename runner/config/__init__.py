"""Owns the config: its keys, its checks, its messages, and what this version can do with it."""

from __future__ import annotations

from runner.config.adapter_names import shipped_adapters
from runner.config.adapters import adapter_from_dict, load_adapter
from runner.config.available import unavailable
from runner.config.loading import LoadedConfig, config_from_dict, load_config, load_configs, to_dict
from runner.config.models import (
    Budget,
    Dataset,
    Gates,
    Matrix,
    Model,
    Nightly,
    Notification,
    Output,
    Price,
    Request,
    Retrieval,
    RunConfig,
    ScoreGate,
    Scorer,
    Server,
    Timeouts,
)
from runner.config.params import warnings
from runner.config.schema import adapter_json_schema, config_json_schema
from runner.config.truncation import LONGEST_ANSWER
from runner.limiter.policy import Limits
from runner.retry.policy import RetryPolicy

__all__ = [
    "LONGEST_ANSWER",
    "Budget",
    "Dataset",
    "Gates",
    "Limits",
    "LoadedConfig",
    "Matrix",
    "Model",
    "Nightly",
    "Notification",
    "Output",
    "Price",
    "Request",
    "Retrieval",
    "RetryPolicy",
    "RunConfig",
    "ScoreGate",
    "Scorer",
    "Server",
    "Timeouts",
    "adapter_from_dict",
    "adapter_json_schema",
    "config_from_dict",
    "config_json_schema",
    "load_adapter",
    "load_config",
    "load_configs",
    "shipped_adapters",
    "to_dict",
    "unavailable",
    "warnings",
]
