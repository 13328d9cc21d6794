"""Owns the command line: `evalrunner COMMAND …`. Results go to stdout, messages and progress to stderr."""

from __future__ import annotations

from runner.cli.app import app

__all__ = ["app"]
