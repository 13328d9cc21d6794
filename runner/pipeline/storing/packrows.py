"""Owns how a pack that was answered in full becomes columns: what its rows share is made once, the rest by the column.

The shared part is that of a pack of one case, made by `rows`, so that a value can only come out the same both ways.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.folder.index import pack_entries
from runner.pipeline.requests.cases import DIGEST_CHARACTERS, case_rows, count_cases, first_of
from runner.pipeline.storing.codec import part_of
from runner.pipeline.storing.keptcolumns import kept_column
from runner.pipeline.storing.rowgroup import RowGroup
from runner.pipeline.storing.rows import GroupColumns, group_columns, join_notes, share_usage
from runner.sinks import JoinedTexts, Repeated

if TYPE_CHECKING:
    from runner.pipeline.storing.codec import Ended
    from runner.pipeline.storing.reading import Reading, RowContext
    from runner.pipeline.storing.rows import Columns

# Smaller packs are put into groups with others: columns that hold few rows are not worth making.
_FEWEST_CASES = 256
_USAGE = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
_SHARED = (*_USAGE, "usage_json", "usage_exact")


def is_whole_pack(ended: Ended, reading: Reading) -> bool:
    """Say whether a request is a large pack with one sound vector for each case."""
    vectors = reading.parsed.vectors
    return (
        vectors is not None
        and isinstance(ended.cases, dict)
        and part_of(ended) == (1, 0, 0)
        and not ended.replaces
        and len(vectors) == count_cases(ended.cases) >= _FEWEST_CASES
    )


def pack_columns(ended: Ended, reading: Reading, raw: tuple[bytes, bytes, bytes], context: RowContext) -> GroupColumns:
    """Return the columns of such a pack, the same as `group_columns` gives for a group with it alone."""
    cases, vectors, count = ended.cases, reading.parsed.vectors, count_cases(ended.cases)
    if not isinstance(cases, dict) or vectors is None:
        raise TypeError("the request is no pack with vectors")
    group = RowGroup()
    parsed = replace(reading.parsed, outputs=reading.parsed.outputs[:1], vectors=vectors[:1])
    first = case_rows(first_of(dict(cases, columns={})))
    group.add(ended._replace(cases=first), reading._replace(parsed=parsed), raw)
    made = group_columns(group, context)
    noted: dict[int, list[str]] = {}
    responses: Columns = {name: Repeated(column[0], count) for name, column in made.responses.items()}
    own: dict[str, Any] = {
        "key": JoinedTexts(cases["keys"], DIGEST_CHARACTERS),
        "sample_id": cases["sample_ids"],
        "repeat": np.array(cases["repeats"], np.int32),
        "request_row": np.arange(count, dtype=np.int32),
        "target": cases["targets"],
        "embedding": vectors,
        **_shared_usage(made.responses, cases["input_bytes"]),
        **{
            f"in_{name}": kept_column(name, kind, cases["columns"].get(name) or [None] * count, noted)
            for name, kind in context.columns.items()
        },
    }
    responses |= own
    notes = parsed.notes
    if noted:
        responses["parse_note"] = [join_notes([*notes, *noted.get(case, ())]) for case in range(count)]
    index = pack_entries(cases["row_digests"], cases["keys"], cases["carries"], cases["repeats"], [0] * count)
    totals = replace(made.totals, by_status=Counter(ok=count), parse_notes=count if notes else len(noted))
    return GroupColumns(responses, made.attempts, made.raw, index, totals)


def _shared_usage(responses: Columns, weights: list[int]) -> dict[str, Any]:
    names = [name for name in (*_SHARED, "cost_usd") if name in responses]
    return share_usage({name: responses[name][0] for name in names}, weights)
