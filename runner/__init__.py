"""evalrunner: batch evaluation runner. Prompts in, typed crash-safe Parquet out.

>>> import runner
>>> summary = runner.run("configs/quickstart.yaml")
>>> frame = runner.load(summary.run_dir)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.api import arun, run
    from runner.errors import RunnerError
    from runner.pipeline.summary import RunSummary
    from runner.results import load, load_embeddings, scan

__all__ = ["RunSummary", "RunnerError", "arun", "load", "load_embeddings", "run", "scan"]

# Loaded on first use: a run needs no pandas, and loading results needs no HTTP client.
_HOMES = {
    "RunSummary": "runner.pipeline.summary",
    "RunnerError": "runner.errors",
    "arun": "runner.api",
    "load": "runner.results",
    "load_embeddings": "runner.results",
    "run": "runner.api",
    "scan": "runner.results",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'runner' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
