"""Owns finding the bodies of a part's requests: which row of `raw` belongs to which row of `responses`."""

from __future__ import annotations

from typing import Final

import orjson
import pyarrow as pa

# What tells the answers to one request apart, since some of them were replaced.
JOINED: Final = ("request_key", "finished_at")
# The columns of raw that say so: when a request ended stands in `meta`, a list whose order is only ever appended to.
RAW_JOINED: Final = ("request_key", "meta")
_FINISHED_AT = 8


def raw_rows(rows: pa.Table, raw: pa.Table) -> list[int | None]:
    """Return for each row of a part its row in the part of `raw` with the same name; null where nothing was kept.

    A part of `raw` is never written again, and rows never change their part: their bodies are there, or nowhere.
    """
    ends = (round(orjson.loads(meta.as_py())[_FINISHED_AT] * 1e6) for meta in raw["meta"])
    found = {place: row for row, place in enumerate(zip(raw["request_key"].to_pylist(), ends, strict=True))}
    places = zip(rows["request_key"].to_pylist(), rows["finished_at"].cast(pa.int64()).to_pylist(), strict=True)
    return [found.get(place) for place in places]
