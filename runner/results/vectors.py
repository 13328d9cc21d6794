"""Owns loading vectors: a run's embeddings as one matrix."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runner.folder.layout import RunFolder
from runner.results.runs import opened
from runner.sinks import naming_damage, row_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from runner.sinks import PartFile


def load_embeddings(run_dir: str | Path) -> tuple[list[str], NDArray[np.float32]]:
    """Load the vectors of a run: sample ids, and a float32 matrix [n, d] with the vector of `ids[i]` in row i.

    One row for each row of `responses` with status ok and a vector, in the order of the parts and of the rows in them:
    that in which the answers came, the same at every call for a run that is not being continued. An id stands there
    once for each repeat and each input (choice) of its sample, in the order of (repeat, choice) within one answer.
    Rows without a vector (failed, refused, skipped) are left out, and a warning says how many; so is a row whose vector
    has another length than the first. A value that was not finite is NaN. Without any vector the matrix is [0, 0].

    Works at any moment of a run. Memory: the matrix, the ids, and one row group of a part at a time. Raises
    RunFolderError for a folder that is no run, DamagedError for a damaged part, BusyError where a session replaces
    parts of a very large run meanwhile.
    """
    folder = RunFolder(Path(run_dir))
    with opened([folder], []) as (run,):
        ids, matrix, rows = _matrix(list(run.snapshot.tables["responses"].values()))
    left_out = rows - len(ids)
    if left_out:
        warnings.warn(f"{folder.root}: {left_out} rows have no vector and are left out", stacklevel=2)
    return ids, matrix[: len(ids)]


def _matrix(parts: Sequence[PartFile]) -> tuple[list[str], NDArray[np.float32], int]:
    """Return ids, their vectors in the first rows of a matrix, and how many rows the parts have."""
    rows = sum(part.parquet().metadata.num_rows for part in parts)
    ids: list[str] = []
    matrix = np.empty((0, 0), dtype=np.float32)
    for batch in _vector_batches(parts):
        vectors = batch.column("embedding")
        if not ids and batch.num_rows:  # room for all rows: what is not filled takes no memory
            matrix = np.empty((rows, len(vectors[0])), dtype=np.float32)
        fits = vectors.value_lengths().to_numpy(zero_copy_only=False) == matrix.shape[1]
        if not fits.all():
            batch = batch.filter(fits)  # noqa: PLW2901 - what is left of it
        values = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
        matrix[len(ids) : len(ids) + batch.num_rows] = values.reshape(batch.num_rows, matrix.shape[1])
        ids += batch.column("sample_id").to_pylist()
    return ids, matrix, rows


def _vector_batches(parts: Sequence[PartFile]) -> Iterator[pa.RecordBatch]:
    """Yield ids and vectors of the ok rows that have one, a row group at a time."""
    for part in parts:
        with naming_damage(part.path):
            for batch in row_groups(part.parquet(), ["sample_id", "status", "embedding"]):
                statuses = batch.column("status").to_pylist()
                vectors = batch.column("embedding").is_valid().to_pylist()
                chosen = [status == "ok" and valid for status, valid in zip(statuses, vectors, strict=True)]
                yield batch if all(chosen) else batch.filter(np.array(chosen))
