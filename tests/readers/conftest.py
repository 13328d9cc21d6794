"""Owns how the reader tests write dataset files of every format and compression."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[Path, list[dict[str, Any]]], Path]
    Pack = Callable[[bytes], bytes]


@pytest.fixture(scope="session")
def write() -> Write:
    """Write rows with the same keys to a path, in the format and compression that its name says."""

    def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
        packed = path.suffix in {".gz", ".zst"}
        content = _FORMATS[path.with_suffix("").suffix if packed else path.suffix](rows)
        path.write_bytes(_PACKERS[path.suffix](content) if packed else content)
        return path

    return write_rows


@pytest.fixture(scope="session")
def zstd() -> Pack:
    return _zstd


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def _delimited(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=7)
    return sink.getvalue()


def _ipc_file(rows: list[dict[str, Any]]) -> bytes:
    table, sink = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return sink.getvalue()


def _ipc_stream(rows: list[dict[str, Any]]) -> bytes:
    table, sink = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return sink.getvalue()


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


_FORMATS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": lambda rows: _delimited(rows, ","),
    ".tsv": lambda rows: _delimited(rows, "\t"),
    ".parquet": _parquet,
    ".arrow": _ipc_stream,
    ".feather": _ipc_file,
}
_PACKERS: dict[str, Pack] = {".gz": gzip.compress, ".zst": _zstd}
