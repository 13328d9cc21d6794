"""Owns `where`: which rows are wanted, as an Arrow expression or as filters, and which columns that takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from runner.errors import UsageError
from runner.sinks import no_such_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Condition: TypeAlias = "tuple[str, str, Any]"
# An Arrow expression, or filters as `pandas.read_parquet` takes them: conditions that all hold, or lists of such.
Where: TypeAlias = "pc.Expression | Sequence[Condition] | Sequence[Sequence[Condition]]"

_HINT = 'e.g. where=pc.field("status") == "failed", or where=[("status", "==", "failed"), ("attempts", ">", 1)]'
# No column is called so: a row's number, while rows are chosen.
_NUMBER = "(row)"
# Arrow has no other sign of a column that is not there than its message.
_MISSING = re.compile(r"FieldRef\.\w+\(([^)]+)\)")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are wanted: those for which `expression` is true. `columns` are the columns that it looks at."""

    expression: pc.Expression
    columns: pa.Schema

    def rows(self, table: pa.Table) -> NDArray[np.bool_]:
        """Say of each row of a table with these columns whether it is wanted; null counts as no."""
        numbers = pa.array(np.arange(table.num_rows))
        kept = table.append_column(_NUMBER, numbers).filter(self.expression)[_NUMBER]
        wanted = np.zeros(table.num_rows, dtype=np.bool_)
        wanted[kept.to_numpy()] = True
        return wanted


def selection_of(where: Where, known: pa.Schema) -> Selection:
    """Compile `where`. Raises RunFolderError for a column that is not there, UsageError for what is no condition."""
    expression = _expression(where)
    try:
        _try(expression, known)
    except pa.ArrowException as error:
        if missing := _MISSING.search(str(error)):
            raise no_such_column([missing[1]], known.names) from error
        raise UsageError(f"where: {error}", hint=_HINT) from error
    return Selection(expression, pa.schema([field for field in known if _needs(expression, known, field.name)]))


def _expression(where: Where) -> pc.Expression:
    if isinstance(where, pc.Expression):
        return where
    try:
        return pq.filters_to_expression([list(one) if isinstance(one, list) else one for one in where])
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise UsageError(f"where: {error}", hint=_HINT) from error


def _needs(expression: pc.Expression, known: pa.Schema, name: str) -> bool:
    """Say whether an expression looks at a column: without it, it cannot be computed."""
    try:
        _try(expression, pa.schema([field for field in known if field.name != name]))
    except pa.ArrowInvalid:
        return True
    return False


def _try(expression: pc.Expression, schema: pa.Schema) -> None:
    schema.empty_table().append_column(_NUMBER, pa.array([], pa.int64())).filter(expression)
