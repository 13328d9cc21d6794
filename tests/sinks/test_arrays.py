"""Columns of a whole run as arrays, and rows by their places over all parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from runner.errors import DamagedError
from runner.folder.layout import RunFolder, part_name
from runner.sinks import (
    SCORES,
    PartWriter,
    Snapshot,
    response_batches,
    response_numbers,
    response_rows,
    responses_schema,
    score_numbers,
    scores_schema,
    take_snapshot,
)
from runner.sinks.values import column_hashes, column_orders

if TYPE_CHECKING:
    from pathlib import Path

PARTS = (5, 0, 3)


def write(folder: RunFolder, table: str, schema: Any, columns: list[dict[str, list[Any]]]) -> None:
    folder.table(table).mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(columns):
        with PartWriter(folder.table(table) / part_name(number), schema) as writer:
            writer.write_columns(part)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    first, parts = 0, []
    for rows in PARTS:
        numbers = range(first, first + rows)
        first += rows
        parts.append(
            {
                "key": [f"k{number}" for number in numbers],
                "choice": [number % 2 for number in numbers],
                "repeat": [number // 2 for number in numbers],
                "status": ["ok"] * rows,
                "text": [f"text {number}" for number in numbers],
                "prompt_tokens": [None if number == 2 else number for number in numbers],
            }
        )
    write(folder, "responses", responses_schema({}, {}), parts)
    return folder


def taken(folder: RunFolder, scores: list[dict[str, list[Any]]] | None = None) -> Snapshot:
    if scores is None:
        return take_snapshot(folder, ["responses"])
    write(folder, "scores/one", scores_schema(["exact"], {}), scores)
    found = take_snapshot(folder, ["responses", "scores/one"])
    return Snapshot(folder, {"responses": found.tables["responses"], SCORES: found.tables["scores/one"]})


def test_numbers_come_part_by_part_with_null_as_nan(folder: RunFolder) -> None:
    with taken(folder) as snapshot:
        np.testing.assert_equal(response_numbers(snapshot, "prompt_tokens"), [0, 1, np.nan, 3, 4, 5, 6, 7])
        assert np.isnan(response_numbers(snapshot, "latency_s")).all()


def test_a_count_that_no_double_holds_exactly_is_no_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    row = {"key": ["k"], "status": ["ok"], "prompt_tokens": [2**53 + 1]}
    write(folder, "responses", responses_schema({}, {}), [row])
    with taken(folder) as snapshot:
        assert response_numbers(snapshot, "prompt_tokens").tolist() == [2.0**53]


def test_scores_stand_beside_their_rows_in_whatever_order_they_lie(folder: RunFolder) -> None:
    places = [[4, 3, 2, 1, 0], [], [5, 7]]  # turned round, and one that is missing
    scores = [
        {
            "key": [f"k{number}" for number in part],
            "choice": [number % 2 for number in part],
            "score_exact": [None if number == 1 else number / 2 for number in part],
        }
        for part in places
    ]
    with taken(folder, scores) as snapshot:
        np.testing.assert_equal(score_numbers(snapshot, "exact"), [0, np.nan, 1, 1.5, 2, 2.5, np.nan, 3.5])
        assert np.isnan(score_numbers(snapshot, "other")).all()
    (folder.table("scores/one") / part_name(2)).unlink()
    with taken(folder, scores[:1]) as snapshot:
        np.testing.assert_equal(score_numbers(snapshot, "exact")[5:], [np.nan] * 3)


def test_rows_are_found_by_place_once_each(folder: RunFolder) -> None:
    with taken(folder) as snapshot:
        found = response_rows(snapshot, [6, 0, 6, 4], ["key", "text"])
        assert found == {place: {"key": f"k{place}", "text": f"text {place}"} for place in (0, 4, 6)}
        assert response_rows(snapshot, [], ["key"]) == {}


def test_batches_hold_the_columns_that_were_asked_for(folder: RunFolder) -> None:
    with taken(folder) as snapshot:
        batches = list(response_batches(snapshot, ["repeat", "choice", "text"]))
    assert sum(batch.num_rows for batch in batches) == sum(PARTS)
    orders = np.concatenate([column_orders(batch) for batch in batches])
    assert orders.tolist() == [number // 2 * 2**31 + number % 2 for number in range(8)]
    assert len(set(np.concatenate([column_hashes(batch, ["text"]) for batch in batches]).tolist())) == 8


def test_a_damaged_part_is_named(folder: RunFolder) -> None:
    path = folder.table("responses") / part_name(0)
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)
    with taken(folder) as snapshot, pytest.raises(DamagedError, match="part-000000"):
        response_rows(snapshot, [0], ["key", "choice", "text"])
