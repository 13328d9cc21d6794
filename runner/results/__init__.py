"""Owns reading results: a run's tables and scores, or several runs', for pandas, polars and DuckDB."""

from __future__ import annotations

from runner.results.loading import load
from runner.results.scanning import scan
from runner.results.vectors import load_embeddings

__all__ = ["load", "load_embeddings", "scan"]
