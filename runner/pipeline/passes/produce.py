"""Owns the second pass: rows that are left become requests, a batch at a time, in dataset order or shuffled."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from runner.digest import digest128
from runner.errors import DatasetError, TemplateError
from runner.pipeline.passes.scan import BadPlace, bad_row_digest
from runner.pipeline.requests.adapting import one_choice
from runner.pipeline.requests.fingerprint import (
    RequestBuilder,
    Row,
    RowReader,
    UnusableRowError,
    occurrence_digest,
    row_digest,
)
from runner.pipeline.requests.loose import LooseBuilder
from runner.pipeline.requests.packing import Loose, Packer
from runner.readers import BadRow, RowBatch, read_batches
from runner.records import Request, SkippedRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from runner.pipeline.passes.rowindex import RowIndex
    from runner.pipeline.passes.todo import Todo
    from runner.pipeline.requests.fingerprint import RequestPlan

    Made = Request | SkippedRow | Loose

# How many shuffled rows are held at once: more rows, more memory; fewer, more passes over the file.
_SHUFFLED_ROWS = 16_384
# Requests are handed on when they take this much, however few they are: rows may be short and what they name large.
_HANDED_ON_BYTES = 4 << 20
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
    """Yield requests and skipped rows in batches. Raises DatasetError when the dataset changed under the run.

    Where requests hold several samples, only what is left to do is packed.
    """
    packing = production.plan.packing
    if packing is None:
        yield from cast("Iterator[list[Request | SkippedRow]]", _made(production))
        return
    packer = Packer(packing.limits)
    for made in _made(production):
        ready: list[Request | SkippedRow] = []
        for one in made:
            ready += packer.add(one) if isinstance(one, Loose) else [one]
        if ready:
            yield ready
    if left := packer.flush():
        yield [*left]


def _made(production: Production) -> Iterator[list[Made]]:
    """Yield what is left to do, a batch at a time, in dataset order or shuffled."""
    if production.shuffle_seed is None:
        yield from _in_order(production, production.todo.wanted)
        return
    rows = np.flatnonzero(production.todo.wanted).astype(np.uint32)
    shuffled = np.random.default_rng(production.shuffle_seed).permutation(rows)
    for start in range(0, len(shuffled), _SHUFFLED_ROWS):
        chunk = shuffled[start : start + _SHUFFLED_ROWS]
        wanted = np.zeros_like(production.todo.wanted)
        wanted[chunk] = True
        if production.plan.file_digests is not None:
            yield from _made_of(production, _shuffled_rows(production, wanted, start))
            continue
        made = [one for batch in _in_order(production, wanted) for some in batch for one in _each(some)]
        order = np.random.default_rng([production.shuffle_seed, start]).permutation(len(made))
        yield [made[position] for position in order.tolist()]


def find_unrenderable(production: Production) -> list[BadPlace]:
    """Return the rows left to do whose templates fail, the first 20 of them, before anything is sent.

    Nothing is rendered where the templates cannot fail, nor where the first pass has done it for the files they read.
    """
    found: list[BadPlace] = []
    plan = production.plan
    if plan.template.certain or plan.file_digests is not None or production.skip_bad_rows:
        return found
    for batch in read_batches(production.paths, wanted=production.todo.wanted):
        for line, row in zip(batch.lines, batch.rows, strict=True):
            try:
                if not isinstance(row, BadRow):
                    production.plan.render(row)
            except (TemplateError, TypeError) as error:
                found.append(BadPlace(f"{batch.file}:{line}", str(error)))
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


def _in_order(production: Production, wanted: NDArray[np.bool_]) -> Iterator[list[Made]]:
    return _made_of(production, read_batches(production.paths, wanted=wanted))


def _shuffled_rows(production: Production, wanted: NDArray[np.bool_], start: int) -> Iterator[RowBatch]:
    """Yield some rows one by one in shuffled order, so that what they name is read when it is a row's turn."""
    rows = [
        (batch.file, number, line, row)
        for batch in read_batches(production.paths, wanted=wanted)
        for number, line, row in zip(batch.numbers, batch.lines, batch.rows, strict=True)
    ]
    for position in np.random.default_rng([production.shuffle_seed or 0, start]).permutation(len(rows)).tolist():
        file, number, line, row = rows[position]
        yield RowBatch(file, [number], [line], [row])


def _made_of(production: Production, batches: Iterable[RowBatch]) -> Iterator[list[Made]]:
    plan, todo = production.plan, production.todo
    reader = RowReader(plan)
    build_all = None if plan.packing is None else LooseBuilder(plan, plan.packing).build_all
    build = _builder(plan)
    untouched = not todo.done.any()
    for batch in batches:
        if build_all is not None and not todo.partial and (untouched or not todo.done[batch.numbers].any()):
            loose = build_all(reader, batch.rows, production.index.occurrences_of(batch.numbers))
            if loose is not None:
                yield [_loose_without_known(todo, one, batch.numbers) for one in loose]
                continue
        yield from _one_by_one(production, batch, reader, build)


def _one_by_one(
    production: Production, batch: RowBatch, reader: RowReader, build: Callable[[Row], Sequence[Request | Loose]]
) -> Iterator[list[Made]]:
    """Yield what becomes of rows that have to be looked at one by one; large bodies are not kept waiting for others."""
    done, index = production.todo.done, production.index
    untouched = not done[batch.numbers].any()
    made: list[Made] = []
    numbers: list[int] = []
    held = 0
    for number, line, row in zip(batch.numbers, batch.lines, batch.rows, strict=True):
        content = None
        try:
            if isinstance(row, BadRow):
                raise UnusableRowError(row.reason)
            content, carry = reader.read(row)
            built = build(Row(row, content, carry, index.occurrence(number)))
            if not untouched:
                built = _left(built, done[number])
            for one in built:
                if isinstance(one, Request):
                    held += len(one.body)
            made += built
        except (UnusableRowError, TemplateError, TypeError) as error:
            made += _skipped(production, BadPlace(f"{batch.file}:{line}", str(error)), number, content)
        numbers += [number] * (len(made) - len(numbers))
        if held >= _HANDED_ON_BYTES:
            built = ()
            yield _left_to_ask(production, made, numbers)
            made, numbers, held = [], [], 0
    yield _left_to_ask(production, made, numbers)


def _builder(plan: RequestPlan) -> Callable[[Row], Sequence[Request | Loose]]:
    return RequestBuilder(plan).build if plan.packing is None else LooseBuilder(plan, plan.packing).build


def _left(made: Sequence[Request | Loose], done: NDArray[np.bool_]) -> Sequence[Request | Loose]:
    return [one for one in made if not done[one.cases[0].repeat]]


def _each(made: Made) -> Iterator[Made]:
    """Yield cases that can share requests one by one, and all else as it is."""
    if not isinstance(made, Loose):
        yield made
        return
    for place, content in enumerate(made.contents):
        yield replace(made, cases=made.cases[place : place + 1], contents=[content])


def _skipped(production: Production, place: BadPlace, number: int, content: bytes | None) -> list[SkippedRow]:
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


def _without_known(production: Production, made: list[Made], numbers: list[int]) -> list[Made]:
    """Leave out requests that are answered already although their row's other values changed."""
    todo = production.todo
    if not len(todo.known_keys) or not made:
        return made
    keys = [one.key if isinstance(one, SkippedRow) else one.cases[0].key for one in made]
    known = todo.is_known(keys)
    for position in np.flatnonzero(known):
        todo.relinked[keys[position]] = numbers[position]
    return [one for one, is_known in zip(made, known, strict=True) if not is_known]


def _loose_without_known(todo: Todo, loose: Loose, numbers: Sequence[int]) -> Loose:
    """Do the same for cases of the rows with these numbers."""
    if not len(todo.known_keys):
        return loose
    keys = loose.cases.keys
    known = todo.is_known(keys)
    if not known.any():
        return loose
    for position in np.flatnonzero(known):
        todo.relinked[keys[position]] = numbers[int(position)]
    return loose.only((~known).tolist())


def _left_to_ask(production: Production, made: list[Made], numbers: list[int]) -> list[Made]:
    if production.todo.partial:
        made, numbers = _missing_choices(production, made, numbers)
    return _without_known(production, made, numbers)


def _missing_choices(production: Production, made: list[Made], numbers: list[int]) -> tuple[list[Made], list[int]]:
    """Put requests for the choices that are missing in place of those whose other choices are there."""
    todo, plan = production.todo, production.plan
    left: list[Made] = []
    rows: list[int] = []
    for one, number in zip(made, numbers, strict=True):
        there = todo.partial.get(one.key) if isinstance(one, Request) else None
        if there is None or not isinstance(one, Request):
            left.append(one)
        else:
            todo.relinked[one.key] = number
            missing = (choice for choice in range(one.choices) if choice not in there)
            left += [one_choice(one, choice, plan.repeats, plan.endpoint) for choice in missing]
        rows += [number] * (len(left) - len(rows))
    return left, rows
