"""Owns how collected records become columns of plain values under the schemas' names, a whole group at a time.

What is done is done column by column, because that is where the time of sealing goes. Where requests, cases and rows
are the same, nothing is spread.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from runner.folder.index import pack_entries, spread_choices
from runner.folder.totals import Totals
from runner.pipeline.requests.cases import input_bytes
from runner.pipeline.storing.codec import charged_of
from runner.pipeline.storing.keptcolumns import kept_column
from runner.pipeline.storing.reading import MOST_MESSAGE
from runner.pipeline.storing.sharing import share, share_amount
from runner.sinks import Repeated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.pipeline.storing.reading import RowContext
    from runner.pipeline.storing.rowgroup import RowGroup
    from runner.prices import Price
    from runner.records import Attempt, Output, SkippedRow

Columns: TypeAlias = "dict[str, Sequence[Any]]"

_OUTPUT = ("text", "reasoning", "refusal", "tool_calls", "finish_reason", "audio_transcript")
_LOGPROBS = ("tokens", "token_bytes", "token_logprobs", "top_tokens", "top_logprobs")
_LIKELIHOOD = ("continuation", "loglikelihood", "is_greedy", "boundary_inexact")
_ANSWER = ("served_model", "response_id", "system_fingerprint", "service_tier")
_SUMMED = ("prompt_tokens", "completion_tokens", "total_tokens")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
_TOO_MANY_REQUESTS = 429


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
    return "; ".join(notes)[:MOST_MESSAGE] or None


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
        "error_message": [row.reason[:MOST_MESSAGE] for row in skipped],
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
    numbers = attempts.get("attempt", ())
    answered = [position for position, failed in enumerate(group.failed) if not failed]
    costs = usage.get("cost_usd")
    known = [cost for position in answered if (cost := costs[position]) is not None] if costs else []
    totals = Totals(
        by_status=Counter(made["responses"].get("status", ())),
        requests=len(group.ended),
        http_requests=len(group.ended) + len(group.attempts),
        retries=len(numbers) - numbers.count(1),
        rate_limited=attempts.get("http_status", ()).count(_TOO_MANY_REQUESTS),
        **{name: sum(filter(None, usage[name])) for name in _SUMMED},
        cost_usd=sum(known),
        priced=len(known),
        unpriced=len(answered) - len(known),
        parse_notes=notes,
    )
    for tokens, dollars in filter(None, map(charged_of, group.ended)):
        totals.charged_tokens += tokens
        totals.charged_usd += dollars
    totals.charged_tokens += sum(attempt.charged_tokens for attempt, _, _ in group.attempts)
    totals.charged_usd += sum(attempt.charged_usd for attempt, _, _ in group.attempts)
    totals.add_latencies([group.ended[position].last[4] for position in answered])
    return totals
