"""Owns putting the bodies of a part's requests beside its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.parquet as pq

# What tells the answers to one request apart, since some of them were replaced.
JOINED: Final = ("request_key", "finished_at")
# The place in raw's meta, a list whose order is only ever appended to, of when the request ended: UTC seconds.
_FINISHED_AT = 8


def bodies_beside(rows: pa.Table, raw: pq.ParquetFile, names: Sequence[str]) -> pa.Table:
    """Return the bodies of some rows, in their order, from the part of `raw` with the same name.

    A part of `raw` is never written again, and rows never change their part: their bodies are there, or were not kept.
    """
    table = raw.read(["request_key", "meta", *names])
    ends = (round(orjson.loads(meta.as_py())[_FINISHED_AT] * 1e6) for meta in table["meta"])
    found = {place: row for row, place in enumerate(zip(table["request_key"].to_pylist(), ends, strict=True))}
    places = zip(rows["request_key"].to_pylist(), rows["finished_at"].cast(pa.int64()).to_pylist(), strict=True)
    return table.select(names).take(pa.array([found.get(place) for place in places], pa.int64()))
