"""Owns loading: a run's tables and scores into pandas, with Arrow-backed types."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from runner.errors import RunFolderError
from runner.folder.layout import RunFolder, scores_table
from runner.folder.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_RAW_COLUMNS = ("request", "response")
# The place in raw's meta, a list whose order is only ever appended to, of when the request ended: UTC seconds.
_FINISHED_AT = 8
# What is unique in `responses`, and stands in every scoring.
_PLACE = ("key", "choice")


def load(run_dir: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Load the responses of a run: one row for each sample × repeat × choice that ended.

    `columns` chooses columns of `responses` and of its scores (`score_<name>`, `<name>_note`); null takes all of both.
    `request` and `response`, the bodies as bytes, come from `raw` and only when they are named. All dtypes are
    Arrow-backed (`pandas.ArrowDtype`), the same whether the run is empty, all failed or mixed. Works at any moment of a
    run. Raises RunFolderError for a folder that is no run, and for a column that is not there.
    """
    folder = RunFolder(Path(run_dir))
    raw_wanted = [name for name in columns or () if name in _RAW_COLUMNS]
    wanted = None if columns is None else [name for name in columns if name not in _RAW_COLUMNS]
    if not raw_wanted:
        return _frame(_with_scores(folder, wanted))
    joining = ["request_key", "finished_at"]
    with_keys = None if wanted is None else [*wanted, *(name for name in joining if name not in wanted)]
    bodies = _bodies(folder, raw_wanted)
    joined = _frame(_with_scores(folder, with_keys)).merge(bodies, on=joining, how="left")
    return joined[list(columns or joined.columns)]


def load_embeddings(run_dir: str | Path) -> tuple[list[str], NDArray[np.float32]]:
    """Load the vectors of a run: sample ids, and a float32 matrix [n, d] with the vector of `ids[i]` in row i.

    One row for each row of `responses` with status ok and a vector, in the order of the parts and of the rows in them:
    that in which the answers came, the same at every call for a run that is not being continued. An id stands there
    once for each repeat and each input (choice) of its sample, in the order of (repeat, choice) within one answer.
    Rows without a vector (failed, refused, skipped) are left out, and a warning says how many; so is a row whose vector
    has another length than the first. A value that was not finite is NaN. Without any vector the matrix is [0, 0].

    Works at any moment of a run. Memory: the matrix, the ids, and one row group of a part at a time. Raises
    RunFolderError for a folder that is no run.
    """
    folder = RunFolder(Path(run_dir))
    parts = _parts(folder, "responses")
    rows = sum(pq.read_metadata(part).num_rows for part in parts)
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
    left_out = rows - len(ids)
    if left_out:
        warnings.warn(f"{folder.root}: {left_out} rows have no vector and are left out", stacklevel=2)
    return ids, matrix[: len(ids)]


def _bodies(folder: RunFolder, names: Sequence[str]) -> pd.DataFrame:
    """Return the bodies with what tells the answers to one request apart, since some of them were replaced."""
    raw = _table(folder, "raw").to_table(columns=["request_key", "meta", *names])
    ends = [round(orjson.loads(meta.as_py())[_FINISHED_AT] * 1e6) for meta in raw.column("meta")]
    finished = pa.array(ends, type=pa.timestamp("us", tz="UTC"))
    bodies = raw.drop_columns("meta").append_column("finished_at", finished)
    return _frame(bodies).drop_duplicates(["request_key", "finished_at"], keep="last")


def _vector_batches(parts: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield ids and vectors of the ok rows that have one, a row group at a time."""
    for part in parts:
        with pq.ParquetFile(part) as file:
            for number in range(file.num_row_groups):
                group = file.read_row_group(number, columns=["sample_id", "status", "embedding"], use_threads=False)
                for batch in group.to_batches():
                    statuses = batch.column("status").to_pylist()
                    vectors = batch.column("embedding").is_valid().to_pylist()
                    chosen = [status == "ok" and valid for status, valid in zip(statuses, vectors, strict=True)]
                    yield batch if all(chosen) else batch.filter(np.array(chosen))


def _with_scores(folder: RunFolder, columns: Sequence[str] | None) -> pa.Table:
    """Return columns of `responses` and of the scores that the manifest names, part beside part."""
    responses = _table(folder, "responses")
    scores = _scores_schema(folder)
    known = [*responses.schema.names, *(name for name in scores.names if name not in _PLACE)]
    _check(columns or (), known, folder)
    wanted = known if columns is None else list(columns)
    own = [name for name in wanted if name in responses.schema.names]
    scored = [name for name in wanted if name not in responses.schema.names]
    if not scored:
        return responses.to_table(columns=own)
    pieces = []
    for part in _parts(folder, "responses"):
        table = pq.read_table(part, columns=[*_PLACE, *(name for name in own if name not in _PLACE)], partitioning=None)
        beside = _beside(table, folder, Path(part).name, scores, scored)
        pieces.append(pa.table({name: (beside if name in scored else table)[name] for name in wanted}))
    return pa.concat_tables(pieces)


def _beside(table: pa.Table, folder: RunFolder, part: str, scores: pa.Schema, scored: Sequence[str]) -> pa.Table:
    """Return the scores of a part's rows. While one of the two is being replaced they may differ: then by key."""
    try:
        path = folder.table(_scoring_table(folder)) / part
        found = pq.read_table(path, columns=[*_PLACE, *scored], partitioning=None)
    except FileNotFoundError:
        found = scores.empty_table().select([*_PLACE, *scored])
    if all(found[name].equals(table[name]) for name in _PLACE):
        return found
    rows = {place: row for row, place in enumerate(zip(*(found[name].to_pylist() for name in _PLACE), strict=True))}
    places = zip(*(table[name].to_pylist() for name in _PLACE), strict=True)
    return found.take(pa.array([rows.get(place) for place in places], pa.int64()))


def _scores_schema(folder: RunFolder) -> pa.Schema:
    """Return the columns of the scores that count, none where there are none."""
    table = _scoring_table(folder)
    parts = sorted(folder.table(table).glob("part-*.parquet")) if table else []
    return pq.read_schema(parts[0]) if parts else pa.schema([])


def _scoring_table(folder: RunFolder) -> str:
    scoring = read_manifest(folder).scoring if folder.manifest.exists() else ""
    return scores_table(scoring) if scoring else ""


def _table(folder: RunFolder, name: str) -> ds.Dataset:
    return ds.dataset(_parts(folder, name), format="parquet")


def _parts(folder: RunFolder, name: str) -> list[str]:
    parts = sorted(str(part) for part in folder.table(name).glob("part-*.parquet"))
    if not parts:
        raise RunFolderError(
            f"{folder.root}: no run to load here ({name}/ holds no part)",
            hint="`evalrunner status` lists the runs under outputs/",
        )
    return parts


def _check(columns: Sequence[str], known: Sequence[str], folder: RunFolder) -> None:
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise RunFolderError(
            f"{folder.root}: responses has no column {', '.join(unknown)}",
            hint="`evalrunner schema responses` lists the columns; those of the dataset are in_<column>, of scores "
            "score_<name>",
        )


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
