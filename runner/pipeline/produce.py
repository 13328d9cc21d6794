"""Owns the second pass: rows that are left become requests, a batch at a time, in dataset order or shuffled."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runner.digest import digest128
from runner.errors import DatasetError, TemplateError
from runner.pipeline.adapting import one_choice
from runner.pipeline.fingerprint import (
    RequestBuilder,
    Row,
    RowReader,
    UnusableRowError,
    occurrence_digest,
    row_digest,
)
from runner.pipeline.scan import BadPlace, bad_row_digest
from runner.readers import BadRow, read_batches
from runner.records import SkippedRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from runner.pipeline.fingerprint import RequestPlan
    from runner.pipeline.rowindex import RowIndex
    from runner.pipeline.todo import Todo
    from runner.records import Request

# How many shuffled rows are held at once: more rows, more memory; fewer, more passes over the file.
_SHUFFLED_ROWS = 16_384
_SHOWN_PLACES = 20


@dataclass(frozen=True, slots=True)
class Production:
    """Everything the second pass reads. `shuffle_seed` null keeps the dataset's order."""

    paths: Sequence[Path]
    plan: RequestPlan
    index: RowIndex
    todo: Todo
    shuffle_seed: int | None
    skip_bad_rows: bool


def produce(production: Production) -> Iterator[list[Request | SkippedRow]]:
    """Yield requests and skipped rows in batches. Raises DatasetError when the dataset changed under the run."""
    if production.shuffle_seed is None:
        yield from _in_order(production, production.todo.wanted)
        return
    rows = np.flatnonzero(production.todo.wanted).astype(np.uint32)
    shuffled = np.random.default_rng(production.shuffle_seed).permutation(rows)
    for start in range(0, len(shuffled), _SHUFFLED_ROWS):
        chunk = shuffled[start : start + _SHUFFLED_ROWS]
        wanted = np.zeros_like(production.todo.wanted)
        wanted[chunk] = True
        made = [one for batch in _in_order(production, wanted) for one in batch]
        order = np.random.default_rng([production.shuffle_seed, start]).permutation(len(made))
        yield [made[position] for position in order.tolist()]


def find_unrenderable(production: Production) -> list[BadPlace]:
    """Return the rows left to do whose templates fail, the first 20 of them, before anything is sent.

    Nothing is rendered where the templates cannot fail.
    """
    found: list[BadPlace] = []
    if production.plan.template.certain or production.skip_bad_rows:
        return found
    for batch in read_batches(production.paths, wanted=production.todo.wanted):
        for line, row in zip(batch.lines, batch.rows, strict=True):
            try:
                if not isinstance(row, BadRow):
                    production.plan.template.render(row)
            except TemplateError as error:
                found.append(BadPlace(f"{batch.file}:{line}", error.message))
                if len(found) == _SHOWN_PLACES:
                    return found
    return found


def rows_as_requests(production: Production, wanted: NDArray[np.bool_]) -> Iterator[Request]:
    """Yield the requests of some rows as the dataset has them now, done or not; bad rows yield none."""
    read, build = RowReader(production.plan).read, RequestBuilder(production.plan).build
    for batch in read_batches(production.paths, wanted=wanted):
        for number, row in zip(batch.numbers, batch.rows, strict=True):
            if not isinstance(row, BadRow):
                with contextlib.suppress(UnusableRowError, TemplateError):
                    content, carry = read(row)
                    occurrence = production.index.occurrence(number)
                    yield from build(Row(row, content, carry, occurrence))


def _in_order(production: Production, wanted: NDArray[np.bool_]) -> Iterator[list[Request | SkippedRow]]:
    read, build = RowReader(production.plan).read, RequestBuilder(production.plan).build
    done, index = production.todo.done, production.index
    untouched = not done.any()
    for batch in read_batches(production.paths, wanted=wanted):
        made: list[Request | SkippedRow] = []
        numbers: list[int] = []
        for number, line, row in zip(batch.numbers, batch.lines, batch.rows, strict=True):
            content = None
            try:
                if isinstance(row, BadRow):
                    raise UnusableRowError(row.reason)
                content, carry = read(row)
                requests = build(Row(row, content, carry, index.occurrence(number)))
                made += requests if untouched else _left(requests, done[number])
            except (UnusableRowError, TemplateError, TypeError) as error:
                made += _skipped(production, BadPlace(f"{batch.file}:{line}", str(error)), number, content)
            numbers += [number] * (len(made) - len(numbers))
        if production.todo.partial:
            made, numbers = _missing_choices(production, made, numbers)
        yield _without_known(production, made, numbers)


def _left(requests: list[Request], done: NDArray[np.bool_]) -> list[Request]:
    return [request for request in requests if not done[request.cases[0].repeat]]


def _skipped(production: Production, place: BadPlace, number: int, content: bytes | None) -> list[Request | SkippedRow]:
    if not production.skip_bad_rows:
        raise DatasetError(f"{place.source}: {place.reason}", hint="dataset.on_bad_row: skip leaves such rows out")
    if production.todo.done[number, 0]:
        return []
    digest = bad_row_digest(place.source, place.reason)
    key = digest128(b"skipped" + digest)
    if content is not None:  # the row reads well and only fails to render: its digest is that of its content
        own = row_digest(production.plan, content)
        digest = occurrence_digest(own, production.index.occurrence(number))
    return [SkippedRow(key, place.source, digest, place.reason)]


def _without_known(
    production: Production, made: list[Request | SkippedRow], numbers: list[int]
) -> list[Request | SkippedRow]:
    """Leave out requests that are answered already although their row's other values changed."""
    todo = production.todo
    if not len(todo.known_keys) or not made:
        return made
    known = todo.is_known([one.key for one in made])
    for position in np.flatnonzero(known):
        todo.relinked[made[position].key] = numbers[position]
    return [one for one, is_known in zip(made, known, strict=True) if not is_known]


def _missing_choices(
    production: Production, made: list[Request | SkippedRow], numbers: list[int]
) -> tuple[list[Request | SkippedRow], list[int]]:
    """Put requests for the choices that are missing in place of those whose other choices are there."""
    todo, plan = production.todo, production.plan
    left: list[Request | SkippedRow] = []
    rows: list[int] = []
    for one, number in zip(made, numbers, strict=True):
        there = None if isinstance(one, SkippedRow) else todo.partial.get(one.key)
        if there is None or isinstance(one, SkippedRow):
            left.append(one)
        else:
            todo.relinked[one.key] = number
            missing = (choice for choice in range(one.choices) if choice not in there)
            left += [one_choice(one, choice, plan.repeats, plan.endpoint) for choice in missing]
        rows += [number] * (len(left) - len(rows))
    return left, rows
