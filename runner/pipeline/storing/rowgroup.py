"""Owns collecting records that wait to become rows, on three levels: requests, their cases, the rows of each case.

There is one row a choice. Nearly always the three are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from runner.errors import request_errors
from runner.pipeline.requests.cases import case_rows
from runner.pipeline.storing.codec import part_of, read_meta
from runner.pipeline.storing.reading import parse_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.pipeline.storing.codec import Ended, Part
    from runner.pipeline.storing.reading import Reading, RowContext
    from runner.records import Attempt, Output, Parsed, SkippedRow

# Failures of a passing kind, which a later session sends again.
RESEND = frozenset(kind for kind, error in request_errors().items() if error.resend)


@dataclass(slots=True)
class RowGroup:
    """Records waiting to become rows.

    `parsed` and `raw` (meta, request, response; null where it is not kept) run beside `ended`, `request_of` beside
    `cases`, and `outputs`, `embeddings` and `case_of` are one a row. `parts` says of a case, by its place in `cases`,
    which choices its request asked for, where that was not all of them. `attempts` are those that did not end their
    request, `again` the keys (hex) of cases that may have rows already, which these are to replace.
    """

    ended: list[Ended] = field(default_factory=list)
    parsed: list[Parsed] = field(default_factory=list)
    raw: list[tuple[bytes, bytes, bytes] | None] = field(default_factory=list)
    cases: list[list[Any]] = field(default_factory=list)
    parts: dict[int, Part] = field(default_factory=dict)
    request_of: list[int] = field(default_factory=list)
    request_rows: list[int] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    case_of: list[int] = field(default_factory=list)
    embeddings: list[Any] = field(default_factory=list)
    resend: list[bool] = field(default_factory=list)
    attempts: list[tuple[Attempt, int, str]] = field(default_factory=list)
    skipped: list[SkippedRow] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows it holds, of all tables together but `raw`."""
        return len(self.outputs) + len(self.ended) + len(self.attempts) + len(self.skipped)

    def add_record(self, meta: bytes, request_body: bytes, response: bytes, context: RowContext) -> None:
        """Add one ended request, as the journal holds it.

        Raises DamagedError where meta cannot be read; whatever is wrong with the response body becomes rows.
        """
        ended = read_meta(meta)
        self.add(ended, parse_record(ended, (request_body, response), context), (meta, request_body, response))

    def add(self, ended: Ended, reading: Reading, raw: tuple[bytes, bytes, bytes]) -> None:
        """Add one ended request whose answer was read already."""
        parsed, cases = reading.parsed, case_rows(ended.cases)
        if not isinstance(ended.choices, int) and (part := part_of(ended)).of:
            parsed = _placed(parsed, part)
            self.parts.update((len(self.cases) + number, part) for number in range(len(cases)))
        if ended.replaces:
            self.again += [case[0] for case in cases]
        request = len(self.ended)
        self.raw.append(raw if reading.keep else None)
        self.ended.append(ended)
        self.parsed.append(parsed)
        self.failed.append(reading.failed)
        self._add_cases(cases, parsed, request, settled=ended.failure is not None and _is_final(ended.failure))

    def _add_cases(self, cases: list[list[Any]], parsed: Parsed, request: int, *, settled: bool) -> None:
        first = len(self.cases)
        if len(cases) == len(parsed.outputs[0]) == 1 and parsed.vectors is None:  # nearly every answer
            output = parsed.outputs[0][0]
            self.cases.append(cases[0])
            self.request_of.append(request)
            self.request_rows.append(0)
            self.resend.append(not settled and output.status == "failed" and output.error_kind in RESEND)
            self.case_of.append(first)
            self.outputs.append(output)
            self.embeddings.append(output.embedding)
            return
        self.cases += cases
        self.request_of += [request] * len(cases)
        self.request_rows += range(len(cases))
        if parsed.vectors is None and not settled:
            self.resend += [outputs[0].status == "failed" and _is_passing(outputs) for outputs in parsed.outputs]
        else:
            self.resend += [False] * len(cases)
        if all(len(outputs) == 1 for outputs in parsed.outputs):
            self.case_of += range(first, first + len(cases))
        else:
            for number, outputs in enumerate(parsed.outputs, first):
                self.case_of += [number] * len(outputs)
        fresh = [output for outputs in parsed.outputs for output in outputs]
        self.outputs += fresh
        self.embeddings.extend([one.embedding for one in fresh] if parsed.vectors is None else parsed.vectors)


def _placed(parsed: Parsed, part: Part) -> Parsed:
    """Give the outputs their numbers among all choices of the case; more of them than were asked for have no place."""
    placed = tuple(
        tuple(replace(output, choice=part.first + number) for number, output in enumerate(outputs[: part.choices]))
        for outputs in parsed.outputs
    )
    return replace(parsed, outputs=placed)


def _is_final(failure: list[Any]) -> bool:
    """Say whether a failure of a passing kind is one that the same request would meet again."""
    return len(failure) > 3 and bool(failure[3])  # noqa: PLR2004 - its place


def _is_passing(outputs: Sequence[Output]) -> bool:
    """Say whether a case came to nothing that another attempt may not mend."""
    return all(output.status == "failed" and output.error_kind in RESEND for output in outputs)
