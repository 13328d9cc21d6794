"""Owns the rows of parts with the bodies of their requests, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from runner.sinks.bodies import JOINED, RAW_JOINED, raw_rows
from runner.sinks.parts import naming_damage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.sinks.snapshot import Snapshot

# Beside the columns that are asked for: the bodies' place among those that `body` returns.
RAW_ROW: Final = "raw_row"


class Bodies:
    """The answers' bodies of one part, and the meta of their requests, taken out one by one."""

    def __init__(self, table: pa.Table | None) -> None:
        self._table = table

    def response(self, row: int) -> bytes:
        """Return the body of an answer; empty where none came."""
        return self._value("response", row) or b""

    def meta(self, row: int) -> bytes:
        """Return what the journal says of the request."""
        return self._value("meta", row) or b""

    def _value(self, name: str, row: int) -> bytes | None:
        value: bytes | None = None if self._table is None else self._table[name][row].as_py()
        return value


def exchanges(snapshot: Snapshot, columns: Sequence[str]) -> Iterator[tuple[list[dict[str, Any]], Bodies]]:
    """Yield each part's rows, with `raw_row`, and the bodies. Memory: a part, its bodies included. Raises DamagedError.

    `raw_row` is null where nothing was kept of the request.
    """
    for name, part in snapshot.tables["responses"].items():
        raw = snapshot.tables["raw"].get(name)
        with naming_damage(part.path):
            rows = part.parquet(checked=True).read(list(dict.fromkeys([*columns, *JOINED])))
            bodies = raw.parquet(checked=True).read([*RAW_JOINED, "response"]) if raw is not None else None
            places = raw_rows(rows, bodies) if bodies is not None else [None] * rows.num_rows
            values = rows.select(columns).append_column(RAW_ROW, pa.array(places, pa.int64())).to_pylist()
        yield values, Bodies(bodies)
