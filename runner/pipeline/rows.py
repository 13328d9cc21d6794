"""Owns how a record becomes rows: plain tuples in the order of the schemas. Pure; a failing parser costs no answer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner.errors import NoChoicesError, ParseError, kind_of, request_errors
from runner.folder.index import pack_entry
from runner.folder.totals import Totals
from runner.jsontext import scrub
from runner.pipeline.codec import read_meta
from runner.readers import ColumnKind, to_kind
from runner.records import Output, Parsed
from runner.transport import request_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.endpoints import Endpoint
    from runner.pipeline.codec import Ended
    from runner.records import Attempt, SkippedRow, Usage

_RESEND = frozenset(kind for kind, error in request_errors().items() if error.resend)
_NO_CHOICES = kind_of(NoChoicesError)
_NO_OUTPUT = (None,) * 11
_NO_LOGPROBS = (None,) * 5
_NO_LOGLIKELIHOOD_EMBEDDING_RETRIEVAL = (None,) * 6
_NO_LOGLIKELIHOOD_EMBEDDING = (None,) * 5
_NO_USAGE: tuple[Any, ...] = (None,) * 8
_EXPECTED = {"string": str, "int64": int, "double": float, "bool": bool}
_MAX_MESSAGE = 2000
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens; `cached_input` falls back to `input`."""

    input: float
    output: float
    cached_input: float | None = None

    def cost(self, usage: Usage) -> float | None:
        """Return the cost of an answer, null where the server stated no counts."""
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        dollars = (usage.prompt_tokens - cached) * self.input + cached * cached_price
        return (dollars + usage.completion_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class RowContext:
    """What every row of a run shares. `columns` maps kept dataset columns to their kinds."""

    endpoint: Endpoint
    model: str
    price: Price | None
    columns: Mapping[str, str]
    keep_raw: bool


@dataclass(slots=True)
class RowGroup:
    """Rows waiting to be written, with their share of the totals and of the index."""

    responses: list[tuple[Any, ...]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    raw: list[tuple[Any, ...]] = field(default_factory=list)
    index: list[bytes] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)


def add_record(group: RowGroup, raw: tuple[bytes, bytes, bytes], context: RowContext) -> None:
    """Add the rows of one ended request. `raw` is meta, request body and response body as the journal holds them.

    Raises DamagedError where meta cannot be read; whatever is wrong with the response body becomes rows.
    """
    ended = read_meta(raw[0])
    parsed, sound, failed = _parse(ended, raw[2], context)
    usage = parsed.usage
    cost = context.price.cost(usage) if context.price and not failed else None
    usage_columns = _NO_USAGE if failed else _usage(usage, cost)
    _add_responses(group, ended, parsed, usage_columns, context)
    last, totals = ended.last, group.totals
    group.attempts.append(
        (
            *(last[0], last[1], ended.session, last[2], round(last[3] * 1e6), *last[4:8], ended.server, last[8]),
            *usage_columns,
        )
    )
    _count_attempt(totals, last[1], last[5])
    totals.requests += 1
    if not failed:
        _count_answer(totals, usage, cost, last[4])
    if context.keep_raw or not sound:
        status = ended.response[0] if ended.response else None
        group.raw.append((ended.key, status, raw[1], raw[2] or None, raw[0]))


def add_attempt(group: RowGroup, attempt: Attempt, session: int, server: str) -> None:
    """Add the row of an attempt that did not end its request."""
    group.attempts.append(
        (
            *(attempt.request_key.hex(), attempt.number, session, attempt.n_samples),
            *(_microseconds(attempt.started_at), attempt.latency_s, attempt.http_status, attempt.error_kind),
            *(attempt.retry_after_s, server, attempt.request_id),
            *_NO_USAGE,
        )
    )
    _count_attempt(group.totals, attempt.number, attempt.http_status)


def add_skipped(group: RowGroup, row: SkippedRow, context: RowContext) -> None:
    """Add the row of a dataset row that cannot be used."""
    key = row.key.hex()
    nothing = len(context.columns)
    group.responses.append(
        (
            *(key, row.sample_id, 0, 0, key, 0, "skipped", None, row.reason[:_MAX_MESSAGE], None, None),
            *_NO_OUTPUT,
            *_NO_LOGLIKELIHOOD_EMBEDDING_RETRIEVAL,
            *_NO_USAGE,
            *(None,) * 7,
            *(context.endpoint.name, context.model),
            *(None,) * 7,
            *(None,) * nothing,
        )
    )
    group.index.append(pack_entry(row.row_digest.hex(), key, 0, 0, resend=False))
    group.totals.by_status["skipped"] += 1


def convert_columns(values: Mapping[str, Any], columns: Mapping[str, str], notes: list[str]) -> list[Any]:
    """Return the kept dataset values in the order of `columns`, each as its Arrow column takes it."""
    converted = []
    for name, kind in columns.items():
        value: Any = values.get(name)
        if value is not None and (type(value) is not _EXPECTED.get(kind) or not _fits(value)):
            value, note = to_kind(value, ColumnKind(kind))
            if note:
                notes.append(f"in_{name}: {note}")
        converted.append(value)
    return converted


def _fits(value: Any) -> bool:
    return type(value) is not int or -_INT64 <= value < _INT64


def _parse(ended: Ended, body: bytes, context: RowContext) -> tuple[Parsed, bool, bool]:
    """Return the rows, whether the body was read, and whether the request failed."""
    cases = len(ended.cases)
    if ended.failure is not None:
        kind, message, _ = ended.failure
        if kind == _NO_CHOICES and ended.response is not None:
            # In a 2xx a mended adapter may find the answer that an earlier one did not.
            with contextlib.suppress(Exception):
                return context.endpoint.parse(body, cases, ended.choices), True, False
        return _same_for_all(kind, message, cases, ended.choices), ended.response is None, True
    try:
        return context.endpoint.parse(body, cases, ended.choices), True, False
    except Exception as error:  # noqa: BLE001 - whatever a parser does, the answer was paid for and its row must exist
        message = f"the answer cannot be turned into columns ({type(error).__name__}: {error}); its bytes are in raw/"
        return _same_for_all(kind_of(ParseError), scrub(message), cases, ended.choices), False, False


def _same_for_all(kind: str, message: str, cases: int, choices: int) -> Parsed:
    rows = tuple(
        Output(choice, "failed", error_kind=kind, error_message=message[:_MAX_MESSAGE]) for choice in range(choices)
    )
    return Parsed(outputs=(rows,) * cases)


def _add_responses(
    group: RowGroup, ended: Ended, parsed: Parsed, usage_columns: tuple[Any, ...], context: RowContext
) -> None:
    response, last = ended.response, ended.last
    status = (ended.failure[2] if ended.failure else None) or (response[0] if response else None)
    shared = (
        None if parsed.created is None else parsed.created * 1_000_000,
        *(round(last[3] * 1e6), round(ended.finished_at * 1e6), ended.queued_s, last[4]),
        *(response[4] if response else None, ended.attempts),
        *(context.endpoint.name, context.model, parsed.served_model, ended.server, parsed.response_id),
        *(request_id(response[1]) if response else None, parsed.system_fingerprint, parsed.service_tier),
    )
    for number, (case, outputs) in enumerate(zip(ended.cases, parsed.outputs, strict=True)):
        key, sample_id, repeat, row_digest, carry, target, columns = case
        notes = list(parsed.notes)
        kept = convert_columns(columns, context.columns, notes)
        note = "; ".join(notes)[:_MAX_MESSAGE] if notes else None
        resend = True
        for output in outputs:
            # Of n choices, and of the samples of one request, the first row carries the usage.
            usage = usage_columns if number == 0 and output.choice == 0 else _NO_USAGE
            group.responses.append(
                (
                    *(key, sample_id, repeat, output.choice, ended.key, number),
                    *(output.status, output.error_kind, output.error_message, status, note),
                    *_columns(output),
                    *_NO_LOGLIKELIHOOD_EMBEDDING,
                    output.retrieved and [(one.rank, one.id, one.score, one.text) for one in output.retrieved],
                    *usage,
                    *shared,
                    target,
                    *kept,
                )
            )
            group.totals.by_status[output.status] += 1
            resend = resend and output.status == "failed" and output.error_kind in _RESEND
        group.totals.parse_notes += bool(notes)
        group.index.append(pack_entry(row_digest, key, carry, repeat, resend=resend))


def _columns(output: Output) -> tuple[Any, ...]:
    logprobs = output.logprobs
    return (
        output.text,
        output.reasoning,
        output.refusal,
        output.tool_calls,
        output.finish_reason,
        output.audio_transcript,
        *(
            _NO_LOGPROBS
            if logprobs is None
            else (
                logprobs.tokens,
                logprobs.token_bytes,
                logprobs.token_logprobs,
                logprobs.top_tokens,
                logprobs.top_logprobs,
            )
        ),
    )


def _usage(usage: Usage, cost: float | None) -> tuple[Any, ...]:
    return (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        usage.raw,
        cost,
        True if usage.raw is not None else None,
    )


def _count_attempt(totals: Totals, number: int, http_status: int | None) -> None:
    totals.http_requests += 1
    totals.retries += number > 1
    totals.rate_limited += http_status == 429  # noqa: PLR2004 - Too Many Requests


def _count_answer(totals: Totals, usage: Usage, cost: float | None, latency_s: float) -> None:
    totals.prompt_tokens += usage.prompt_tokens or 0
    totals.completion_tokens += usage.completion_tokens or 0
    totals.total_tokens += usage.total_tokens or 0
    totals.add_latency(latency_s)
    if cost is None:
        totals.unpriced += 1
    else:
        totals.priced += 1
        totals.cost_usd += cost


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
