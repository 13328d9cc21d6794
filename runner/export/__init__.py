"""Owns exporting: a run's answers as lines that other programs read, in bounded memory."""

from __future__ import annotations

from runner.export.exporting import FORMATS, Export, write_to_file, write_to_stream

__all__ = ["FORMATS", "Export", "write_to_file", "write_to_stream"]
