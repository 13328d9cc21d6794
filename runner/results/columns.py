"""Owns which columns a result has, and of which types: of one run, or what several have together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from runner.results.runs import RUN
from runner.sinks import PLACE, no_such_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BODIES = ("request", "response")
_NUMBERS = frozenset({pa.int64(), pa.float64()})


def united(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Return the columns of all of some schemas, in the order in which they are met.

    Where types differ (kept columns of another dataset), integers and doubles become doubles, all else text.
    """
    kinds: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            kind = kinds.setdefault(field.name, field.type)
            if kind != field.type:
                kinds[field.name] = pa.float64() if {kind, field.type} == _NUMBERS else pa.string()
    return pa.schema(list(kinds.items()))


def all_columns(responses: Sequence[pa.Schema], scores: Sequence[pa.Schema], *, several: bool) -> pa.Schema:
    """Return the columns of responses, then of scores, behind `run` where there are several runs."""
    fields = [*united(responses), *(field for field in united(scores) if field.name not in PLACE)]
    return pa.schema([*([pa.field(RUN, pa.string())] if several else ()), *fields])


def chosen_columns(known: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """Return the columns asked for, in that order; `run` comes first where nobody placed it.

    Raises RunFolderError for those that are not there.
    """
    if columns is None:
        return known
    with_bodies = pa.unify_schemas([known, pa.schema([(name, pa.large_binary()) for name in BODIES])])
    unknown = [name for name in columns if name not in with_bodies.names]
    if unknown:
        raise no_such_column(unknown, with_bodies.names)
    first = [RUN] if RUN in known.names and RUN not in columns else []
    return pa.schema([with_bodies.field(name) for name in dict.fromkeys([*first, *columns])])
