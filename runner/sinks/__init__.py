"""Owns Parquet: the explicit schema of every table, and writing, reading and checking of parts."""

from __future__ import annotations

from runner.sinks.columns import JoinedTexts, Repeated
from runner.sinks.parts import Arrays, PartWriter, file_crc32, read_row_groups, verify_part
from runner.sinks.rewrite import partition, replace_values, split_rows
from runner.sinks.schema import (
    SCHEMA_VERSION,
    arrow_type,
    attempts_schema,
    raw_schema,
    responses_schema,
    scores_schema,
    table_schema,
)
from runner.sinks.select import rows_at, rows_where
from runner.sinks.values import (
    column_hashes,
    column_numbers,
    column_statuses,
    column_times,
    column_values,
    read_columns,
    read_whole_keys,
)

__all__ = [
    "SCHEMA_VERSION",
    "Arrays",
    "JoinedTexts",
    "PartWriter",
    "Repeated",
    "arrow_type",
    "attempts_schema",
    "column_hashes",
    "column_numbers",
    "column_statuses",
    "column_times",
    "column_values",
    "file_crc32",
    "partition",
    "raw_schema",
    "read_columns",
    "read_row_groups",
    "read_whole_keys",
    "replace_values",
    "responses_schema",
    "rows_at",
    "rows_where",
    "scores_schema",
    "split_rows",
    "table_schema",
    "verify_part",
]
