"""Owns the values that flow through the pipeline: slotted dataclasses, no behaviour, no I/O.

They are frozen, but to the type checker alone: a frozen dataclass sets each field through `object.__setattr__`, which
takes three times as long, and a request makes more than a hundred of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

_T = TypeVar("_T")

# How a row of `responses` ended.
STATUSES: Final = ("ok", "truncated", "refused", "content_filter", "failed", "skipped")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[_T]) -> type[_T]:
    """Make a class of values: a slotted dataclass that mypy treats as frozen."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@value
class Case:
    """One sample × repeat: what a `key` stands for, with everything its output rows need besides the answer.

    `key` is 16 bytes; `row_digest` (16 bytes) covers the values the request uses, `carry_digest` (unsigned 32 bit)
    the target and the kept columns. `columns` is the JSON object of the kept columns. `input_bytes` is how many bytes
    of the body are this case's own input, where a request may hold those of several cases; else 0.
    """

    key: bytes
    sample_id: str
    repeat: int
    row_digest: bytes
    carry_digest: int
    target: str | None
    columns: bytes
    input_bytes: int = 0


@value
class Wrapping:
    """What stands around the inputs of a body that can hold several: JSON `before` and `after` them.

    `plain` is `before` without the encoding that is asked for by default, null where none is. `answer_tokens` is the
    most tokens that all answers to one input may have, a mere guess where they may be of any length (`unbounded`).
    `always_array` says that one input stands in an array, too.
    """

    before: bytes
    after: bytes
    plain: bytes | None = None
    answer_tokens: int = 0
    always_array: bool = False
    unbounded: bool = False


@value
class Request:
    """One HTTP request, complete and ready to send; `choices` is how many answers each case expects.

    `reserve_tokens` is the estimate that the token limit is charged with before the answer's own count is known;
    `answer_tokens` of them are for the answer, a mere guess where the request lets it be of any length (`unbounded`).
    Where the choices of a case are asked for by several requests, `of_choices` is how many there are in all, and
    `first_choice` the first that this one asks for.
    `stream` says that the body asks for a stream.
    `wrapping` is set where the request can be taken apart: its body is the wrapping around its cases' inputs.
    """

    key: bytes
    path: str
    body: bytes
    cases: Sequence[Case]
    choices: int
    reserve_tokens: int
    stream: bool = False
    wrapping: Wrapping | None = None
    first_choice: int = 0
    of_choices: int = 0
    answer_tokens: int = 0
    unbounded: bool = False


@value
class Response:
    """What a server answered: any status, raw body bytes, and the few headers that are kept.

    `started_at` is UTC seconds since the epoch; `latency_s` runs from send to the last byte of the body,
    `first_token_s` to the first block of a stream that carries output.
    """

    http_status: int
    headers: Mapping[str, str]
    body: bytes
    started_at: float
    latency_s: float
    first_token_s: float | None = None


@value
class Usage:
    """Token counts as the server stated them; null where it did not. `raw` is its whole usage object as JSON."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    raw: str | None = None


@value
class Logprobs:
    """Log probabilities of one output, by position; all lists have the same length.

    `top_tokens[i]` and `top_logprobs[i]` are the alternatives at position i. A value the server gave as null, NaN or
    as a number no float32 holds is null.
    """

    tokens: list[str]
    token_bytes: list[bytes | None]
    token_logprobs: list[float | None]
    top_tokens: list[list[str]]
    top_logprobs: list[list[float | None]]


@value
class Retrieved:
    """One document that a RAG system looked up for an answer; `rank` counts from 1 where the server states none."""

    rank: int
    id: str | None
    score: float | None
    text: str | None


@value
class Output:
    """One choice of one case as columns: `status` is ok, truncated, refused, content_filter or failed.

    `embedding` is a float32 vector; a value that is not finite stands in it as NaN and becomes null. `note` is what is
    odd about this output alone.
    The last four are of a log-likelihood, whose `logprobs` hold the continuation's tokens alone.
    """

    choice: int
    status: str
    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: str | None = None
    finish_reason: str | None = None
    audio_transcript: str | None = None
    logprobs: Logprobs | None = None
    error_kind: str | None = None
    error_message: str | None = None
    retrieved: list[Retrieved] | None = None
    embedding: NDArray[np.float32] | None = None
    note: str | None = None
    continuation: str | None = None
    loglikelihood: float | None = None
    is_greedy: bool | None = None
    boundary_inexact: bool | None = None


@value
class Parsed:
    """Everything read out of one accepted response: outputs by case, in the order of `Request.cases`.

    `vectors` is a float32 matrix with a row for each output, where all of them are sound vectors of one length; then
    they do not stand in the outputs as well.
    """

    outputs: tuple[tuple[Output, ...], ...]
    usage: Usage = field(default_factory=Usage)
    served_model: str | None = None
    response_id: str | None = None
    created: int | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    notes: tuple[str, ...] = ()
    vectors: NDArray[np.float32] | None = None


@value
class Failure:
    """Why a request ended without an accepted answer; `error_kind` is a name of the tree in `errors`.

    `final` says that the same request would fail again, though the kind is a passing one.
    """

    error_kind: str
    message: str
    http_status: int | None = None
    final: bool = False


@value
class Score:
    """What a scorer gave a row: `value` is null where there is nothing to score, `note` says why, or what was odd."""

    value: float | None
    note: str | None = None


@value
class Attempt:
    """One HTTP attempt; `number` counts from 1, `server` is whom it went to. Times as in `Response`.

    `charged_tokens` and `charged_usd` are what the budget was charged for it beyond the usage that an accepted answer
    states: known usage of a failure, and what may have been billed though no usage came.
    """

    request_key: bytes
    number: int
    n_samples: int
    started_at: float
    latency_s: float
    http_status: int | None
    error_kind: str | None
    retry_after_s: float | None
    request_id: str | None
    charged_tokens: int = 0
    charged_usd: float = 0.0
    server: str = ""


@value
class Record:
    """How a request ended: the unit the journal stores and the sealer turns into rows.

    Exactly one of `failure` and an accepted `response` decides the rows; a failure may carry the response that
    caused it. `queued_s` is the time from the row's first readiness to its last send, less the attempts themselves.
    `replaces` says that its cases may have rows already, which these are to replace.
    """

    request: Request
    response: Response | None
    failure: Failure | None
    attempts: int
    created_at: float
    finished_at: float
    queued_s: float
    last_attempt: Attempt
    replaces: bool = False


@value
class SkippedRow:
    """A bad dataset row under `on_bad_row: skip`: it gets a row of its own with status `skipped`."""

    key: bytes
    sample_id: str
    row_digest: bytes
    reason: str
