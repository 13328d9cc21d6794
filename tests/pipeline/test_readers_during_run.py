"""Owns the promise that responses can be read at any moment of a run: whole parts, no row twice, none lost again."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import orjson
import pandas as pd
import polars as pl
import pytest

import runner
from runner.export import Export, write_to_stream
from runner.simulate import Fixed, Latency
from tests.support.runs import check_books, config_for, questions, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runner.simulate import Simulator

SAMPLES = 240
SEGMENT_BYTES = 15_000
Pairs = list[tuple[str, int]]


def by_pandas(run: Path) -> Pairs:
    frame = pd.read_parquet(run / "responses", columns=["key", "choice"])
    return list(frame.itertuples(index=False, name=None))


def by_load(run: Path) -> Pairs:
    return list(runner.load(run, columns=["key", "choice"]).itertuples(index=False, name=None))


def by_export(run: Path) -> Pairs:
    stream = io.BytesIO()
    write_to_stream(Export(run, "jsonl", ("key", "choice")), stream)
    rows = map(orjson.loads, stream.getvalue().splitlines())
    return [(row["key"], row["choice"]) for row in rows]


# polars and DuckDB open each file twice; a part that is replaced in between (at the start or end of a session) fails
# the read, with polars by a panic that is no Exception. docs/run-folder.md tells their users to read again then.
def again(read: Callable[[], Pairs], errors: tuple[type[BaseException], ...]) -> Pairs:
    for left in reversed(range(20)):
        try:
            return read()
        except BaseException as error:
            if not left or not ("Panic" in type(error).__name__ or isinstance(error, errors)):
                raise
    raise AssertionError


def by_polars(run: Path) -> Pairs:
    read = pl.read_parquet
    return again(lambda: read(run / "responses", columns=["key", "choice"]).rows(), (pl.exceptions.ComputeError,))


def by_duckdb(run: Path) -> Pairs:
    def read() -> Pairs:
        with duckdb.connect() as connection:
            return connection.execute(f"SELECT key, choice FROM '{run}/responses/*.parquet'").fetchall()  # noqa: S608 - our own path

    return again(read, (duckdb.Error,))


READERS: dict[str, Callable[[Path], Pairs]] = {
    "pandas": by_pandas,
    "load": by_load,
    "export": by_export,
    "polars": by_polars,
    "duckdb": by_duckdb,
}


@contextmanager
def reading(run: Path, read: Callable[[Path], Pairs]) -> Iterator[list[Pairs]]:
    """Read again and again beside the block, from the first part on; what was read is given out, errors are raised."""
    seen: list[Pairs] = []
    errors: list[BaseException] = []
    over = threading.Event()

    def read_on() -> None:
        while not over.is_set() and not any((run / "responses").glob("part-*.parquet")):
            over.wait(0.001)
        try:
            while not over.is_set():
                seen.append(read(run))
        except BaseException as error:  # noqa: BLE001 - whatever a reader meets fails the test; a panic of polars is no Exception
            errors.append(error)

    thread = threading.Thread(target=read_on)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("reader", READERS)
def test_responses_can_be_read_at_any_moment(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    monkeypatch.setattr("runner.pipeline.sending.groupcommit._SEGMENT_BYTES", SEGMENT_BYTES)
    simulator.change(replace(QUICK, latency=Latency(first_token=Fixed(0.01))))
    dataset = write_rows(tmp_path / "data.jsonl", questions(SAMPLES))
    config, run = config_for(simulator, dataset), tmp_path / "run"
    with reading(run, READERS[reader]) as seen:
        summary = runner.run(config, run_dir=run)
    assert summary.ok == SAMPLES
    assert len(list((run / "responses").glob("*.parquet"))) > 5
    counts = [len(pairs) for pairs in seen]
    assert all(len(set(pairs)) == len(pairs) for pairs in seen)
    assert counts == sorted(counts)
    assert len(set(counts)) > 2, "the run was over before it could be read"
    assert set(READERS[reader](run)) >= {pair for pairs in seen for pair in pairs}
    check_books(summary, simulator)


@pytest.mark.parametrize("reader", READERS)
def test_responses_can_be_read_while_failures_are_retracted_and_parts_rewritten(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    monkeypatch.setattr("runner.pipeline.sending.groupcommit._SEGMENT_BYTES", SEGMENT_BYTES)
    rows = questions(SAMPLES // 2)
    for row in rows[::5]:
        row["question"] += " [[fault:500*3]]"
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config, run = config_for(simulator, dataset), tmp_path / "run"
    first = runner.run(config, run_dir=run)
    assert first.failed == len(rows) // 5
    for row in rows[::3]:
        row["answer"] = "corrected"
    write_rows(dataset, rows)
    with reading(run, READERS[reader]) as seen:
        summary = runner.run(config, run_dir=run)
    assert (summary.ok, summary.superseded) == (len(rows), first.failed)
    assert all(len(set(pairs)) == len(pairs) for pairs in seen)
    assert min(len(pairs) for pairs in seen) >= first.ok
    check_books(summary, simulator)
