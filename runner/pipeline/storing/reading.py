"""Owns what a stored answer holds, as the outputs of its cases. A failing parser costs no answer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from runner.errors import NoChoicesError, ParseError, kind_of
from runner.jsontext import scrub
from runner.pipeline.requests.cases import count_cases
from runner.pipeline.storing.codec import choices_of
from runner.records import Output, Parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.endpoints import Endpoint
    from runner.pipeline.storing.codec import Ended
    from runner.pipeline.storing.dimension import Dimension
    from runner.prices import Price

MOST_MESSAGE = 2000
_NO_CHOICES = kind_of(NoChoicesError)
_UNREAD = kind_of(ParseError)


@dataclass(frozen=True, slots=True)
class RowContext:
    """What every row of a run shares. `columns` maps kept dataset columns to their kinds.

    `dimension` is that of the run's vectors, null where its endpoint gives none.
    """

    endpoint: Endpoint
    model: str
    price: Price | None
    columns: Mapping[str, str]
    keep_raw: bool
    dimension: Dimension | None = None


class Reading(NamedTuple):
    """What a stored answer holds, whether its bytes are kept in raw/, and whether its request had failed."""

    parsed: Parsed
    keep: bool
    failed: bool


def parse_record(ended: Ended, bodies: tuple[bytes, bytes], context: RowContext) -> Reading:
    """Return what an answer holds; whatever is wrong with it becomes outputs that failed."""
    cases, choices = count_cases(ended.cases), choices_of(ended)
    if ended.failure is not None:
        kind, message, *_ = ended.failure
        if kind == _NO_CHOICES and ended.response is not None:
            # In a 2xx a mended adapter may find the answer that an earlier one did not.
            with contextlib.suppress(Exception):
                return _read(bodies, cases, choices, context)
        keep = context.keep_raw or ended.response is not None
        return Reading(_same_for_all(kind, message, cases, choices), keep, failed=True)
    try:
        return _read(bodies, cases, choices, context)
    except Exception as error:  # noqa: BLE001 - whatever a parser does, the answer was paid for and its row must exist
        message = f"the answer cannot be turned into columns ({type(error).__name__}: {error}); its bytes are in raw/"
    return Reading(_same_for_all(_UNREAD, scrub(message), cases, choices), keep=True, failed=False)


def _read(bodies: tuple[bytes, bytes], cases: int, choices: int, context: RowContext) -> Reading:
    parsed = context.endpoint.read(*bodies, cases, choices)
    if len(parsed.outputs) != cases or not all(parsed.outputs):
        raise ValueError("the parser left out a sample")
    if context.dimension is not None:
        parsed, sound = context.dimension.check(parsed)
    else:
        sound = context.endpoint.parse_exchange is None or not _has_unread(parsed)
    return Reading(parsed, context.keep_raw or not sound, failed=False)


def _has_unread(parsed: Parsed) -> bool:
    """Say whether some of an answer could not be read, whose bytes are worth keeping for that."""
    return any(output.error_kind == _UNREAD for case in parsed.outputs for output in case)


def _same_for_all(kind: str, message: str, cases: int, choices: int) -> Parsed:
    rows = tuple(
        Output(choice, "failed", error_kind=kind, error_message=message[:MOST_MESSAGE]) for choice in range(choices)
    )
    return Parsed(outputs=(rows,) * cases)
