"""Owns how records become rows: columns of plain values under the schemas' names. A failing parser costs no answer.

Records are only collected one by one; everything else is done column by column for a whole group, because that is where
the time of sealing goes. There are three levels: a request (one record), its cases, and the rows of each case (one a
choice). Nearly always they are the same, and then nothing is spread.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import compress
from operator import attrgetter, itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from runner.errors import NoChoicesError, ParseError, kind_of, request_errors
from runner.folder.index import pack_entries, spread_choices
from runner.folder.totals import Totals
from runner.jsontext import scrub
from runner.pipeline.cases import case_rows, count_cases, input_bytes
from runner.pipeline.codec import charged_of, part_of, read_meta
from runner.pipeline.sharing import share, share_amount
from runner.readers import ColumnKind, to_kind
from runner.records import Output, Parsed
from runner.sinks import Repeated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.endpoints import Endpoint
    from runner.pipeline.codec import Ended, Part
    from runner.pipeline.dimension import Dimension
    from runner.prices import Price
    from runner.records import Attempt, SkippedRow

Columns: TypeAlias = "dict[str, Sequence[Any]]"

# Failures of a passing kind, which a later session sends again.
RESEND = frozenset(kind for kind, error in request_errors().items() if error.resend)
_NO_CHOICES = kind_of(NoChoicesError)
_OUTPUT = ("text", "reasoning", "refusal", "tool_calls", "finish_reason", "audio_transcript")
_LOGPROBS = ("tokens", "token_bytes", "token_logprobs", "top_tokens", "top_logprobs")
_LIKELIHOOD = ("continuation", "loglikelihood", "is_greedy", "boundary_inexact")
_ANSWER = ("served_model", "response_id", "system_fingerprint", "service_tier")
_SUMMED = ("prompt_tokens", "completion_tokens", "total_tokens")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
_EXPECTED = {"string": str, "int64": int, "double": float, "bool": bool}
_MAX_MESSAGE = 2000
_INT64 = 2**63
_TOO_MANY_REQUESTS = 429
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
        self._add_cases(cases, parsed, request, settled=_is_final(ended))

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


@dataclass(frozen=True, slots=True)
class GroupColumns:
    """One group as columns by table, with its share of the totals and of the index. A missing column is all null.

    `again` are the keys (hex) of cases that may have rows already, which these are to replace.
    """

    responses: Columns
    attempts: Columns
    raw: Columns
    index: bytes
    totals: Totals
    again: Sequence[str] = ()


def group_columns(group: RowGroup, context: RowContext) -> GroupColumns:
    """Turn a group into columns. Rows of skipped samples come last."""
    usage = _usage_columns(group, context.price)
    cases, noted = _case_columns(group, context)
    shared = _request_columns(group)
    responses = _response_columns(group, shared, usage, (cases, noted), context)
    index = pack_entries(
        row_digests="".join([case[3] for case in group.cases]),
        keys="".join([case[0] for case in group.cases]),
        carries=[case[4] for case in group.cases],
        repeats=[case[2] for case in group.cases],
        resend=group.resend,
    )
    if group.parts:
        index = spread_choices(index, group.parts)
    if group.skipped:
        responses = _joined(responses, len(group.outputs), _skipped_columns(group.skipped, context))
        digests, keys = (b"".join(_picked(group.skipped, name)).hex() for name in ("row_digest", "key"))
        nothing = [0] * len(group.skipped)
        index += pack_entries(digests, keys, nothing, nothing, nothing)
    attempts = _ended_attempts(group, shared, usage)
    if group.attempts:
        attempts = _joined(attempts, len(group.ended), _other_attempts(group.attempts))
    own = {case for case, output in zip(group.case_of, group.outputs, strict=True) if output.note}
    totals = _totals(group, {"responses": responses, "attempts": attempts}, usage, len(noted.keys() | own))
    return GroupColumns(responses, attempts, _raw_columns(group, shared), index, totals, group.again)


def convert_columns(values: Mapping[str, Any], columns: Mapping[str, str], notes: list[str]) -> list[Any]:
    """Return the kept dataset values in the order of `columns`, each as its Arrow column takes it."""
    return [_convert(name, values.get(name), kind, notes) for name, kind in columns.items()]


def parse_record(ended: Ended, bodies: tuple[bytes, bytes], context: RowContext) -> Reading:
    """Return what an answer holds; whatever is wrong with it becomes outputs that failed."""
    cases, choices = count_cases(ended.cases), part_of(ended).choices
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


def _placed(parsed: Parsed, part: Part) -> Parsed:
    """Give the outputs their numbers among all choices of the case; more of them than were asked for have no place."""
    placed = tuple(
        tuple(replace(output, choice=part.first + number) for number, output in enumerate(outputs[: part.choices]))
        for outputs in parsed.outputs
    )
    return replace(parsed, outputs=placed)


def _is_final(ended: Ended) -> bool:
    """Say whether a failure of a passing kind is one that the same request would meet again."""
    return ended.failure is not None and len(ended.failure) > 3 and bool(ended.failure[3])  # noqa: PLR2004 - its place


def _is_passing(outputs: Sequence[Output]) -> bool:
    """Say whether a case came to nothing that another attempt may not mend."""
    return all(output.status == "failed" and output.error_kind in RESEND for output in outputs)


def _same_for_all(kind: str, message: str, cases: int, choices: int) -> Parsed:
    rows = tuple(
        Output(choice, "failed", error_kind=kind, error_message=message[:_MAX_MESSAGE]) for choice in range(choices)
    )
    return Parsed(outputs=(rows,) * cases)


# ---------------------------------------------------------------- columns of requests


def _usage_columns(group: RowGroup, price: Price | None) -> Columns:
    """Return the usage columns by request; a failed one has none."""
    usages = [parsed.usage for parsed in group.parsed]
    raws = _picked(usages, "raw")
    costs: Sequence[float | None] = ()
    if price is not None:
        costs = [None if failed else price.cost(usage) for failed, usage in zip(group.failed, usages, strict=True)]
    return {
        **{name: _picked(usages, name) for name in _COUNTS},
        "usage_json": raws,
        **({"cost_usd": costs} if costs else {}),
        "usage_exact": [None if raw is None else True for raw in raws],
    }


def _case_usage(group: RowGroup, usage: Columns) -> Columns:
    """Return the usage columns by case: what a request used is shared over its cases by the bytes of their inputs."""
    if len(group.cases) == len(group.ended):
        return usage
    shared: dict[str, Any] = {name: [] for name in usage}
    for request, ended in enumerate(group.ended):
        of_request = {name: column[request] for name, column in usage.items()}
        weights = input_bytes(ended.cases)
        if len(weights) == 1:
            for name, value in of_request.items():
                shared[name].append(value)
            continue
        for name, values in share_usage(of_request, weights).items():
            shared[name] += values
    return shared


def share_usage(of_request: Mapping[str, Any], weights: Sequence[int]) -> dict[str, list[Any]]:
    """Return the usage columns of a request's cases; of_request is what the request used."""
    nothing = [None] * len(weights)
    shares: dict[str, list[Any]] = {
        name: nothing if of_request[name] is None else share(of_request[name], weights) for name in _COUNTS
    }
    prompt, completion, total = (of_request[name] for name in _SUMMED)
    if total is not None and prompt is not None and completion is not None and prompt + completion == total:
        pairs = zip(shares["prompt_tokens"], shares["completion_tokens"], strict=True)
        shares["total_tokens"] = [one + other for one, other in pairs]
    if "cost_usd" in of_request:
        cost = of_request["cost_usd"]
        shares["cost_usd"] = nothing if cost is None else share_amount(cost, weights)
    shares["usage_json"] = [of_request["usage_json"], *nothing[1:]]
    shares["usage_exact"] = nothing if of_request["usage_exact"] is None else [False] * len(weights)
    return shares


def _request_columns(group: RowGroup) -> Columns:
    """Return the columns of `responses` that all rows of a request share."""
    if not group.ended:
        return {}
    columns = zip(*group.ended, strict=True)
    keys, _, _, _, responses, failures, attempts, _, finished, queued, last, _, servers, _ = columns
    created = [parsed.created for parsed in group.parsed]
    return {
        "request_key": keys,
        "http_status": [
            (failure and failure[2]) or (response and response[0]) or None
            for failure, response in zip(failures, responses, strict=True)
        ],
        "created": [None if seconds is None else seconds * 1_000_000 for seconds in created],
        "started_at": [round(one[3] * 1e6) for one in last],
        "finished_at": [round(seconds * 1e6) for seconds in finished],
        "queued_s": queued,
        "latency_s": [one[4] for one in last],
        "first_token_s": [response and response[4] for response in responses],
        "attempts": attempts,
        **{name: _picked(group.parsed, name) for name in _ANSWER},
        "server": servers,
        "request_id": [one[8] for one in last],
    }


def _ended_attempts(group: RowGroup, shared: Columns, usage: Columns) -> Columns:
    """Return the rows of `attempts` for the attempts that ended their requests."""
    if not group.ended:
        return {}
    last = [ended.last for ended in group.ended]
    return {
        **{name: shared[name] for name in ("request_key", "started_at", "latency_s", "server", "request_id")},
        "attempt": [one[1] for one in last],
        "session": [ended.session for ended in group.ended],
        "n_samples": [one[2] for one in last],
        "http_status": [one[5] for one in last],
        "error_kind": [one[6] for one in last],
        "retry_after_s": [one[7] for one in last],
        **usage,
    }


def _other_attempts(attempts: Sequence[tuple[Attempt, int, str]]) -> Columns:
    """Return the rows of `attempts` for those that did not end their request."""
    ones = [attempt for attempt, _, _ in attempts]
    return {
        "request_key": [attempt.request_key.hex() for attempt in ones],
        "attempt": [attempt.number for attempt in ones],
        "session": [session for _, session, _ in attempts],
        "n_samples": [attempt.n_samples for attempt in ones],
        "started_at": [round(attempt.started_at * 1e6) for attempt in ones],
        **{name: _picked(ones, name) for name in ("latency_s", "http_status", "error_kind", "retry_after_s")},
        "server": [server for _, _, server in attempts],
        "request_id": [attempt.request_id for attempt in ones],
    }


def _raw_columns(group: RowGroup, shared: Columns) -> Columns:
    chosen = [raw is not None for raw in group.raw]
    if not any(chosen):
        return {}
    metas, requests, bodies = zip(*filter(None, group.raw), strict=True)
    return {
        "request_key": shared["request_key"] if all(chosen) else list(compress(shared["request_key"], chosen)),
        "http_status": [ended.response[0] if ended.response else None for ended in compress(group.ended, chosen)],
        "request": requests,
        "response": [body or None for body in bodies],
        "meta": metas,
    }


# ---------------------------------------------------------------- columns of cases and of rows


def _case_columns(group: RowGroup, context: RowContext) -> tuple[Columns, dict[int, list[str]]]:
    """Return the columns that all choices of a case share, and the notes by case."""
    if not group.cases:
        return {}, {}
    # A column at a time: thousands of cases taken apart by one `zip` cost ten times as much.
    keys, ids, repeats, targets, values = ([case[place] for case in group.cases] for place in (0, 1, 2, 5, 6))
    noted = {case: list(notes) for case, of in enumerate(group.request_of) if (notes := group.parsed[of].notes)}
    return {
        "key": keys,
        "sample_id": ids,
        "repeat": repeats,
        "request_row": group.request_rows,
        "target": targets,
        **{
            f"in_{name}": kept_column(name, kind, [row.get(name) for row in values], noted)
            for name, kind in context.columns.items()
        },
    }, noted


def kept_column(name: str, kind: str, values: Sequence[Any], noted: dict[int, list[str]]) -> Sequence[Any]:
    """Return one kept column of the dataset; values that do not fit are converted or null, with a note by case."""
    if set(map(type, values)) <= {_EXPECTED.get(kind), NoneType} and (kind != "int64" or _all_fit(values)):
        return values
    converted = []
    for case, value in enumerate(values):
        notes: list[str] = []
        converted.append(_convert(name, value, kind, notes))
        if notes:
            noted.setdefault(case, []).extend(notes)
    return converted


def _convert(name: str, value: Any, kind: str, notes: list[str]) -> Any:
    if value is None or (type(value) is _EXPECTED.get(kind) and _fits(value)):
        return value
    converted, note = to_kind(value, ColumnKind(kind))
    if note:
        notes.append(f"in_{name}: {note}")
    return converted


def _all_fit(numbers: Sequence[int | None]) -> bool:
    known = [number for number in numbers if number is not None]
    return not known or (_fits(min(known)) and _fits(max(known)))


def _fits(value: Any) -> bool:
    return type(value) is not int or -_INT64 <= value < _INT64


def _response_columns(
    group: RowGroup,
    shared: Columns,
    usage: Columns,
    cases: tuple[Columns, Mapping[int, list[str]]],
    context: RowContext,
) -> Columns:
    outputs, case_of = group.outputs, group.case_of
    if not outputs:
        return {}
    request_of = _spread(group.request_of, case_of, len(group.cases))
    columns: Columns = {name: _spread(column, case_of, len(group.cases)) for name, column in cases[0].items()}
    for name, column in shared.items():
        columns[name] = _spread(column, request_of, len(group.ended))
    # Of n choices the first row carries the usage; a request for later choices has usage of its own.
    firsts = [not output.choice for output in outputs]
    if group.parts:
        begins = {case: part.first for case, part in group.parts.items()}
        firsts = [output.choice == begins.get(case, 0) for output, case in zip(outputs, case_of, strict=True)]
    for name, column in _case_usage(group, usage).items():
        spread = _spread(column, case_of, len(group.cases))
        columns[name] = (
            spread if all(firsts) else [v if first else None for v, first in zip(spread, firsts, strict=True)]
        )
    columns |= _output_columns(outputs, context)
    if any(one is not None for one in group.embeddings):
        columns["embedding"] = group.embeddings
    noted, own_notes = cases[1], _picked(outputs, "note")
    if noted or any(own_notes):
        columns["parse_note"] = [
            join_notes([*noted.get(case, ()), *([own] if own else ())])
            for case, own in zip(case_of, own_notes, strict=True)
        ]
    return columns | _constants(context, len(outputs))


def join_notes(notes: Sequence[str]) -> str | None:
    """Return notes as the text of `parse_note`."""
    return "; ".join(notes)[:_MAX_MESSAGE] or None


def _output_columns(outputs: Sequence[Output], context: RowContext) -> Columns:
    """Return the columns that hold an output by itself; those that no output has are left out."""
    columns: Columns = {}
    for name in ("choice", "status", "error_kind", "error_message", *_OUTPUT):
        columns[name] = _picked(outputs, name)
    logprobs = _picked(outputs, "logprobs")
    if logprobs.count(None) < len(logprobs):
        for name in _LOGPROBS:
            columns[name] = [one and getattr(one, name) for one in logprobs]
    if context.endpoint.parse_exchange is not None:
        columns |= {name: _picked(outputs, name) for name in _LIKELIHOOD}
    retrieved = _picked(outputs, "retrieved")
    if retrieved.count(None) < len(retrieved):
        columns["retrieved"] = [
            None if found is None else [(one.rank, one.id, one.score, one.text) for one in found] for found in retrieved
        ]
    return columns


def _skipped_columns(skipped: Sequence[SkippedRow], context: RowContext) -> Columns:
    """Return the rows of `responses` for dataset rows that cannot be used."""
    count = len(skipped)
    keys = [row.key.hex() for row in skipped]
    columns: Columns = {
        "key": keys,
        "sample_id": [row.sample_id for row in skipped],
        "repeat": [0] * count,
        "choice": [0] * count,
        "request_key": keys,
        "request_row": [0] * count,
        "status": ["skipped"] * count,
        "error_message": [row.reason[:_MAX_MESSAGE] for row in skipped],
    }
    return columns | _constants(context, count)


def _constants(context: RowContext, count: int) -> Columns:
    return {"endpoint": Repeated(context.endpoint.name, count), "model": Repeated(context.model, count)}


def _picked(values: Sequence[Any], name: str) -> list[Any]:
    return list(map(attrgetter(name), values))


def _spread(column: Sequence[Any], positions: Sequence[int], count: int) -> Sequence[Any]:
    """Repeat the values of `count` owners for what they own; positions ascend, so as many as owners are all of them."""
    if len(positions) == count:
        return column
    return itemgetter(*positions)(column) if len(positions) > 1 else [column[position] for position in positions]


def _joined(first: Columns, count: int, second: Columns) -> Columns:
    """Put the rows of `second` behind the `count` rows of `first`."""
    added = len(next(iter(second.values())))
    nothing, none = [None] * count, [None] * added
    return {name: [*first.get(name, nothing), *second.get(name, none)] for name in dict.fromkeys((*first, *second))}


# ---------------------------------------------------------------- totals


def _totals(group: RowGroup, made: Mapping[str, Columns], usage: Columns, notes: int) -> Totals:
    attempts = made["attempts"]
    answered = [position for position, failed in enumerate(group.failed) if not failed]
    costs = usage.get("cost_usd")
    known = [cost for position in answered if (cost := costs[position]) is not None] if costs else []
    totals = Totals(
        by_status=Counter(made["responses"].get("status", ())),
        requests=len(group.ended),
        http_requests=len(group.ended) + len(group.attempts),
        retries=sum(number > 1 for number in attempts.get("attempt", ())),
        rate_limited=sum(status == _TOO_MANY_REQUESTS for status in attempts.get("http_status", ())),
        **{name: sum(filter(None, usage[name])) for name in _SUMMED},
        cost_usd=sum(known),
        priced=len(known),
        unpriced=len(answered) - len(known),
        parse_notes=notes,
    )
    for ended in group.ended:
        tokens, dollars = charged_of(ended)
        totals.charged_tokens += tokens
        totals.charged_usd += dollars
    totals.charged_tokens += sum(attempt.charged_tokens for attempt, _, _ in group.attempts)
    totals.charged_usd += sum(attempt.charged_usd for attempt, _, _ in group.attempts)
    totals.add_latencies([group.ended[position].last[4] for position in answered])
    return totals
