"""Owns loading: a run's tables into pandas, with Arrow-backed types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.dataset as ds

from runner.errors import RunFolderError
from runner.folder.layout import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

_RAW_COLUMNS = ("request", "response")


def load(run_dir: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Load the responses of a run: one row for each sample × repeat × choice that ended.

    `columns` chooses columns of `responses`; null takes all. `request` and `response`, the bodies as bytes, come from
    `raw` and only when they are named. All dtypes are Arrow-backed (`pandas.ArrowDtype`), the same whether the run is
    empty, all failed or mixed. Works at any moment of a run. Raises RunFolderError for a folder that is no run, and for
    a column that is not there.
    """
    folder = RunFolder(Path(run_dir))
    responses = _table(folder, "responses")
    raw_wanted = [name for name in columns or () if name in _RAW_COLUMNS]
    wanted = None if columns is None else [name for name in columns if name not in _RAW_COLUMNS]
    _check(wanted or (), responses.schema, folder)
    if not raw_wanted:
        return _frame(responses.to_table(columns=wanted))
    with_key = [*wanted, "request_key"] if wanted is not None and "request_key" not in wanted else wanted
    raw = _table(folder, "raw").to_table(columns=["request_key", *raw_wanted])
    # A failure that was sent again has bodies too; the last ones are those of the rows as they stand.
    bodies = _frame(raw).drop_duplicates("request_key", keep="last")
    joined = _frame(responses.to_table(columns=with_key)).merge(bodies, on="request_key", how="left")
    return joined[list(columns or joined.columns)]


def _table(folder: RunFolder, name: str) -> ds.Dataset:
    path = folder.table(name)
    parts = sorted(str(part) for part in path.glob("part-*.parquet"))
    if not parts:
        raise RunFolderError(
            f"{folder.root}: no run to load here ({name}/ holds no part)",
            hint="`evalrunner status` lists the runs under outputs/",
        )
    return ds.dataset(parts, format="parquet")


def _check(columns: Sequence[str], schema: pa.Schema, folder: RunFolder) -> None:
    unknown = [name for name in columns if name not in schema.names]
    if unknown:
        raise RunFolderError(
            f"{folder.root}: responses has no column {', '.join(unknown)}",
            hint="`evalrunner schema responses` lists the columns; dataset columns are in_<column>",
        )


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
