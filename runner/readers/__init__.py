"""Owns dataset files: finding them, streaming their rows, and knowing what kinds of values their columns hold."""

from __future__ import annotations

from runner.readers.batch_input import check_batch_row, is_batch_row
from runner.readers.batches import BadRow, ReadLimits, RowBatch, Wanted
from runner.readers.convert import to_kind
from runner.readers.dataset import READERS, read_batches, scan_for, source_kinds
from runner.readers.files import resolve_paths
from runner.readers.kinds import ColumnKind
from runner.readers.scan import CellScan, ColumnScan
from runner.readers.spool import spool_stdin

__all__ = [
    "READERS",
    "BadRow",
    "CellScan",
    "ColumnKind",
    "ColumnScan",
    "ReadLimits",
    "RowBatch",
    "Wanted",
    "check_batch_row",
    "is_batch_row",
    "read_batches",
    "resolve_paths",
    "scan_for",
    "source_kinds",
    "spool_stdin",
    "to_kind",
]
