"""Owns how a record becomes a journal payload and comes back: JSON that describes, then the raw bytes of both bodies.

Payload of ANSWER and FAILURE frames: `u32 length | meta JSON | u32 length | request body | response body`. The bodies
are what went over the wire, before anything was parsed. Meta lists, not objects with names, keep a frame short; their
order is the version-1 order and is only ever appended to.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from runner.errors import DamagedError
from runner.pipeline.requests.cases import PackedCases
from runner.records import Attempt, SkippedRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.pipeline.requests.cases import Listed
    from runner.records import Case, Record

_LENGTH = struct.Struct("<I")
# Where in the fields of an attempt stands what it was charged.
_CHARGED = 9
_START = struct.Struct("<16sHdqd")


def encode_record(record: Record, session: int, server: str) -> tuple[bytes, ...]:
    """Return the pieces of a terminal frame's payload, ready to be joined."""
    meta = encode_meta(record, session, server)
    return join_parts(meta, record.request.body, record.response.body if record.response else b"")


def join_parts(meta: bytes, request_body: bytes, response_body: bytes) -> tuple[bytes, ...]:
    """Return the pieces of a terminal frame's payload; `split_payload` takes them apart again."""
    return b"%b%b%b" % (_LENGTH.pack(len(meta)), meta, _LENGTH.pack(len(request_body))), request_body, response_body


def encode_meta(record: Record, session: int, server: str) -> bytes:
    """Return the JSON that describes a record: everything but the two bodies."""
    request, response, failure = record.request, record.response, record.failure
    replaces = (1,) if record.replaces else ()
    return orjson.dumps(
        [
            request.key.hex(),
            request.path,
            [request.choices, request.first_choice, request.of_choices] if request.of_choices else request.choices,
            _cases(request.cases),
            response
            and [
                response.http_status,
                response.headers,
                response.started_at,
                response.latency_s,
                response.first_token_s,
            ],
            failure and [failure.error_kind, failure.message, failure.http_status, *([True] if failure.final else ())],
            record.attempts,
            record.created_at,
            record.finished_at,
            record.queued_s,
            attempt_fields(record.last_attempt),
            session,
            server,
            *replaces,
        ]
    )


class Ended(NamedTuple):
    """How a request ended, as the journal's meta lists it; keys are hex texts, times UTC seconds.

    `choices` is a number, or a list of three where the request asked for a part of them: see `Part`. `cases` lists
    (key, sample_id, repeat, row digest, carry, target, kept columns, input bytes; the last where requests can hold
    several cases), or holds a list of each of these where there are many. `response` is (http_status, headers,
    started_at, latency_s, first_token_s), `failure` (error_kind, message, http_status; then true where it is final),
    `last` the fields of the last attempt in the order of `Attempt`. `replaces` is 1 where its cases may have rows
    already, which its own replace.
    """

    key: str
    path: str
    choices: int | list[int]
    cases: Listed
    response: list[Any] | None
    failure: list[Any] | None
    attempts: int
    created_at: float
    finished_at: float
    queued_s: float
    last: list[Any]
    session: int
    server: str
    replaces: int = 0


class Part(NamedTuple):
    """Which choices of its case a request asked for: how many, from which on, and of how many in all (0: these)."""

    choices: int
    first: int = 0
    of: int = 0


def part_of(ended: Ended) -> Part:
    """Return which choices a request asked for."""
    return Part(ended.choices) if isinstance(ended.choices, int) else Part(*ended.choices)


def choices_of(ended: Ended) -> int:
    """Return how many choices of each case a request asked for."""
    return ended.choices if isinstance(ended.choices, int) else ended.choices[0]


def charged_of(ended: Ended) -> list[Any]:
    """Return the tokens and dollars that its last attempt was charged beside the usage of an answer; empty: nothing."""
    return ended.last[_CHARGED:]


def read_meta(meta: bytes) -> Ended:
    """Return what a terminal frame's meta says. Raises DamagedError for what is none."""
    try:
        return Ended(*orjson.loads(meta))
    except (ValueError, TypeError) as error:
        raise DamagedError(f"a journal frame cannot be read ({error})") from error


def split_payload(payload: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a terminal frame's payload into meta, request body and response body. Raises DamagedError."""
    try:
        (meta_length,) = _LENGTH.unpack_from(payload, 0)
        meta_end = _LENGTH.size + meta_length
        (request_length,) = _LENGTH.unpack_from(payload, meta_end)
    except struct.error as error:
        raise DamagedError("a journal frame is too short for its kind") from error
    request_end = meta_end + _LENGTH.size + request_length
    return payload[_LENGTH.size : meta_end], payload[meta_end + _LENGTH.size : request_end], payload[request_end:]


class Start(NamedTuple):
    """A request that goes out at `at` (UTC seconds), its answer owed; `tokens` and `usd` are the most it may take."""

    key: bytes
    attempt: int
    at: float
    tokens: int = 0
    usd: float = 0.0


def encode_start(start: Start) -> bytes:
    """Return one entry of a START frame."""
    return _START.pack(start.key, min(start.attempt, 65535), start.at, start.tokens, start.usd)


def decode_starts(payload: bytes) -> Iterator[Start]:
    """Yield each request that a START frame notes."""
    yield from map(Start._make, _START.iter_unpack(payload))


def encode_attempt(attempt: Attempt, session: int, server: str) -> bytes:
    """Return the payload of an ATTEMPT frame: an attempt that did not end its request."""
    return orjson.dumps([attempt_fields(attempt), session, server])


def decode_attempt(payload: bytes) -> tuple[Attempt, int, str]:
    """Return the attempt, its session number and its server."""
    fields, session, server = orjson.loads(payload)
    return _attempt(fields), session, server


def encode_skipped(row: SkippedRow) -> bytes:
    """Return the payload of a SKIPPED frame."""
    return orjson.dumps([row.key.hex(), row.sample_id, row.row_digest.hex(), row.reason])


def decode_skipped(payload: bytes) -> SkippedRow:
    """Return the skipped row."""
    key, sample_id, digest, reason = orjson.loads(payload)
    return SkippedRow(bytes.fromhex(key), sample_id, bytes.fromhex(digest), reason)


def attempt_fields(attempt: Attempt) -> list[Any]:
    """Return an attempt as the list that the codec writes; what it was charged only where it was."""
    fields: list[Any] = [
        attempt.request_key.hex(),
        attempt.number,
        attempt.n_samples,
        attempt.started_at,
        attempt.latency_s,
        attempt.http_status,
        attempt.error_kind,
        attempt.retry_after_s,
        attempt.request_id,
    ]
    if attempt.charged_tokens or attempt.charged_usd:
        fields += (attempt.charged_tokens, attempt.charged_usd)
    return fields


def _cases(cases: Sequence[Case]) -> Any:
    if type(cases) is PackedCases:  # not `isinstance`, which a sequence's own class makes a long matter
        return orjson.Fragment(cases.json)
    return list(map(_case_fields, cases))


def _case_fields(case: Case) -> list[Any]:
    return [
        case.key.hex(),
        case.sample_id,
        case.repeat,
        case.row_digest.hex(),
        case.carry_digest,
        case.target,
        orjson.Fragment(case.columns),
    ]


def _attempt(fields: Sequence[Any]) -> Attempt:
    return Attempt(bytes.fromhex(fields[0]), *fields[1:])
