"""Owns parts: one closed Parquet file each, with page checksums, written to `_tmp/` and fsynced before any commit."""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runner.durable import sync_file, write_all
from runner.errors import DamagedError, StorageError
from runner.sinks.columns import array_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray

# zstd at its fastest: a run is bought once and read many times, yet sealing runs beside the requests.
_COMPRESSION_LEVEL = 1
# What a row group holds in memory before it is written: larger ones cost less time a row, and more memory.
_ROW_GROUP_BYTES = 4 * 1024 * 1024
# Text columns of model output hardly repeat; dictionaries for them cost time and save nothing.
_INCOMPRESSIBLE = {"key", "embedding.list.element", "response"}
_DICTIONARY = ["status", "error_kind", "finish_reason", "endpoint", "model", "served_model", "server", "target"]


# The arrays made of columns, by the identity of the column and the type.
Arrays: TypeAlias = "dict[tuple[int, pa.DataType], tuple[pa.Array, Sequence[Any]]]"


class _CheckedFile(io.RawIOBase):
    """A new file that knows size and CRC-32 of what was written to it: nobody has to read it again for these."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.size_bytes = 0
        self.crc32 = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size_bytes

    def write(self, block: ReadableBuffer, /) -> int:
        block = memoryview(block)
        write_all(self._descriptor, block)
        self.size_bytes += block.nbytes
        self.crc32 = zlib.crc32(block, self.crc32)
        return block.nbytes

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._descriptor)


class PartWriter:
    """Writes one part in row groups of a few MB; the file is complete and durable only after `close`.

    `light` is for runs with vectors. These and their base64 do not get smaller, and are not compressed; all else is
    with snappy, whose time is small beside theirs. `repeating` names the columns whose values repeat. Raises
    StorageError for whatever the disk refuses.
    """

    def __init__(
        self, path: Path, schema: pa.Schema, *, light: bool = False, repeating: Sequence[str] = _DICTIONARY
    ) -> None:
        self.path = path
        self.schema = schema
        self.rows = 0
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        dictionary = [name for name in repeating if name in schema.names]
        try:
            self._written = _CheckedFile(path)
            self._file = io.BufferedWriter(self._written)
            self._writer = pq.ParquetWriter(
                self._file,
                schema,
                compression=_light(schema) if light else "zstd",
                compression_level=None if light else _COMPRESSION_LEVEL,
                use_dictionary=dictionary or False,
                write_page_checksum=True,
                write_statistics=dictionary or False,
            )
        except OSError as error:
            raise _storage_error(path, error) from error

    @property
    def size_and_crc32(self) -> tuple[int, int]:
        """Size in bytes and CRC-32 of the file, once it is closed."""
        return self._written.size_bytes, self._written.crc32

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            # What is staged without a commit is removed by recovery; only the writer must not outlive its file.
            with contextlib.suppress(Exception):
                self._writer.close()
            with contextlib.suppress(OSError):
                self._file.close()

    def write_columns(self, columns: Mapping[str, Sequence[Any]], known: Arrays | None = None) -> None:
        """Write columns of equal length; one that is missing is all null.

        `known` remembers arrays, for tables that share columns.
        """
        count = next(map(len, columns.values()), 0)
        known = {} if known is None else known
        arrays = [_array(columns.get(field.name), count, field.type, known) for field in self.schema]
        self.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self.schema))

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write a batch of this schema; a row group is written once enough of them have come."""
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._waiting_bytes >= _ROW_GROUP_BYTES:
            self._write_row_group()

    def _write_row_group(self) -> None:
        batches, self._waiting, self._waiting_bytes = self._waiting, [], 0
        table = pa.Table.from_batches(batches, self.schema)
        try:
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        except OSError as error:
            raise _storage_error(self.path, error) from error

    def close(self) -> None:
        """Write what waits and the footer, and fsync."""
        if self._waiting:
            self._write_row_group()
        try:
            self._writer.close()
            self._file.close()
        except OSError as error:
            raise _storage_error(self.path, error) from error
        sync_file(self.path)


def _light(schema: pa.Schema) -> dict[str, str]:
    """Return how each column is compressed where a run has vectors; a list's name is that of its elements."""
    names = [f"{field.name}.list.element" if field.name == "embedding" else field.name for field in schema]
    return {name: "none" if name in _INCOMPRESSIBLE else "snappy" for name in names}


def _array(values: Sequence[Any] | None, count: int, kind: pa.DataType, known: Arrays) -> pa.Array:
    if values is None:
        return pa.nulls(count, kind)
    if isinstance(values, pa.Array):
        return values
    found = known.get((id(values), kind))
    if found is None:
        found = known[id(values), kind] = (array_of(values, kind), values)  # which keeps the id from being given away
    return found[0]


def file_crc32(path: Path) -> tuple[int, int]:
    """Return size in bytes and CRC-32 of a file. Raises StorageError."""
    size = crc32 = 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                size += len(block)
                crc32 = zlib.crc32(block, crc32)
    except OSError as error:
        raise _storage_error(path, error) from error
    return size, crc32


def read_row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield a part row group by row group, page checksums verified. Raises DamagedError."""
    with naming_damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield from row_groups(file, columns)


def row_groups(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield an open part row group by row group."""
    for number in range(file.num_row_groups):
        yield from file.read_row_group(number, columns=columns, use_threads=False).to_batches()


def row_groups_with(
    file: pq.ParquetFile, places: NDArray[np.int64], columns: Sequence[str]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the row groups of an open part that hold rows at some places, in order, each with its first row's place."""
    first = 0
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        if np.searchsorted(places, first) < np.searchsorted(places, first + rows):
            table = file.read_row_group(number, columns=list(columns), use_threads=False)
            before = 0
            for batch in table.combine_chunks().to_batches():
                yield first + before, batch
                before += batch.num_rows
        first += rows


@contextlib.contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn what reading a part raises into DamagedError."""
    try:
        yield
    # A damaged footer can also name a column in no UTF-8, or a size that no memory holds.
    except (OSError, ValueError, OverflowError, MemoryError, pa.ArrowException) as error:
        raise DamagedError(
            f"{path}: the part is damaged ({error})",
            hint="`evalrunner verify RUN_DIR --salvage DIR` copies all that is sound",
        ) from error


def verify_part(path: Path) -> int:
    """Read every page of a part with its checksum and return the number of rows. Raises DamagedError."""
    return sum(batch.num_rows for batch in read_row_groups(path))


def _storage_error(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: cannot write Parquet: {error.strerror or error}",
        hint="every answer is safe in _journal/; free space and resume",
    )
