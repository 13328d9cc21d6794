"""Owns Parquet: the explicit schema of every table, and writing, reading and checking of parts."""

from __future__ import annotations

from runner.sinks.arrays import response_batches, response_numbers, response_rows, rows_by_place, score_numbers
from runner.sinks.beside import PLACE, scores_beside
from runner.sinks.bodies import JOINED, RAW_JOINED, raw_rows
from runner.sinks.columns import JoinedTexts, Repeated
from runner.sinks.compressed import open_output
from runner.sinks.exchanges import RAW_ROW, Bodies, exchanges
from runner.sinks.names import no_such_column
from runner.sinks.parts import Arrays, PartWriter, file_crc32, naming_damage, read_row_groups, row_groups, verify_part
from runner.sinks.plain import column_names, scored_rows
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
from runner.sinks.select import rows_where
from runner.sinks.snapshot import MOST_OPEN, SCORES, PartFile, Snapshot, read_anew, take_snapshot
from runner.sinks.values import (
    column_hashes,
    column_numbers,
    column_orders,
    column_statuses,
    column_times,
    column_values,
    joined_arrays,
    read_columns,
    read_whole_keys,
    status_texts,
)

__all__ = [
    "JOINED",
    "MOST_OPEN",
    "PLACE",
    "RAW_JOINED",
    "RAW_ROW",
    "SCHEMA_VERSION",
    "SCORES",
    "Arrays",
    "Bodies",
    "JoinedTexts",
    "PartFile",
    "PartWriter",
    "Repeated",
    "Snapshot",
    "arrow_type",
    "attempts_schema",
    "column_hashes",
    "column_names",
    "column_numbers",
    "column_orders",
    "column_statuses",
    "column_times",
    "column_values",
    "exchanges",
    "file_crc32",
    "joined_arrays",
    "naming_damage",
    "no_such_column",
    "open_output",
    "partition",
    "raw_rows",
    "raw_schema",
    "read_anew",
    "read_columns",
    "read_row_groups",
    "read_whole_keys",
    "replace_values",
    "response_batches",
    "response_numbers",
    "response_rows",
    "responses_schema",
    "row_groups",
    "rows_by_place",
    "rows_where",
    "score_numbers",
    "scored_rows",
    "scores_beside",
    "scores_schema",
    "split_rows",
    "status_texts",
    "table_schema",
    "take_snapshot",
    "verify_part",
]
