"""Owns what a request gets: every decision, in one place and in order.

Key, parameters, shape of the request, model, context, quota, crowd, limits, fault, answer. It awaits nothing and sends
nothing; it remembers the limits' state, how many answers it granted (the quota's measure, a fault on the wire
notwithstanding), and how often a counted marker was met. What the limits do goes into the books of `rates`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from runner.errors import UsageError
from runner.simulate.answers import Stamp, build_joint_answer
from runner.simulate.dialects import refuse_parameter, without_ignored
from runner.simulate.failures import FAILURES, failure_reply
from runner.simulate.faults import ANSWERLESS, DELIVERIES, FaultPlan, read_marker, shape
from runner.simulate.forms import ask_chat
from runner.simulate.latency import Load, latency_parts_s
from runner.simulate.ledger import Tokens
from runner.simulate.limits import Charge, Gate
from runner.simulate.notices import NOTICES, Told
from runner.simulate.prompts import InvalidRequestError, raw_digest, request_digest
from runner.simulate.quota import Quota
from runner.simulate.rates import RateBook
from runner.simulate.replies import (
    ErrorBody,
    body_too_large,
    context_length_exceeded,
    error_reply,
    model_not_found,
    not_json,
    quota_exhausted,
    unauthorised,
)
from runner.simulate.spoils import SPOILS
from runner.simulate.streams import STREAM_ANSWERLESS, stream_reply
from runner.simulate.vectors import dress_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.simulate.faults import Marker
    from runner.simulate.forms import Asked, Reader
    from runner.simulate.options import SimulatorOptions
    from runner.simulate.prompts import ChatRequest
    from runner.simulate.replies import Reply

# What a request is charged for its answer when it names no maximum.
_UNSTATED_MAX_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request as it came: raw bytes, the ledger's digest, its JSON object if it is one, its key; `read` reads it."""

    raw: bytes
    digest: str
    body: dict[str, Any] | None
    key: str | None
    read: Reader = ask_chat


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request stands: its arrival number and how many are in flight with it."""

    number: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request gets, after `delay_s`. `fault` names what it meets; `tokens` is set where it is an answer.

    A stream waits `pace_s` between two of its events.
    """

    reply: Reply
    delay_s: float = 0.0
    fault: str | None = None
    tokens: Tokens | None = None
    pace_s: float = 0.0


def open_envelope(raw: bytes, key: str | None, read: Reader = ask_chat) -> Envelope:
    """Read a request body as far as the ledger needs it; `read` will read the rest."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        return Envelope(raw, raw_digest(raw), None, key, read)
    return Envelope(raw, request_digest(body), body, key, read)


class Judge:
    """Decides. `now` is a steady clock in seconds, `today` the seconds since the epoch, `rates` the limits' books."""

    def __init__(
        self,
        options: SimulatorOptions,
        now: Callable[[], float],
        today: Callable[[], float],
        rates: RateBook | None = None,
    ) -> None:
        self._now = now
        self._today = today
        self._quota = Quota()
        self.rates = rates or RateBook()
        self.change(options)

    def change(self, options: SimulatorOptions) -> None:
        """Judge later requests by other options; the limits start afresh with full buckets."""
        now = self._now()
        self._options = options
        self._gate = Gate(options.limits, now if self.rates.begun else None)
        self._faults = FaultPlan(options.faults, options.seed)
        self._notice = NOTICES[options.limits.notice]
        details = options.fault_details
        self._details = details if self._notice.asks_to_wait else replace(details, retry_headers={})
        self.rates.set_limits(options.limits, now)

    def judge(self, envelope: Envelope, place: Place) -> Verdict:
        """Decide what one request gets."""
        verdict = self._decide(envelope, place)
        named = {"x-request-id": f"req_{place.number:032x}", "openai-processing-ms": str(int(verdict.delay_s * 1000))}
        return replace(verdict, reply=replace(verdict.reply, headers={**verdict.reply.headers, **named}))

    def refuse_key(self, key: str | None) -> Reply | None:
        """Return a 401 if the key is not one of those the server knows."""
        if not self._options.api_keys or key in self._options.api_keys:
            return None
        return unauthorised(key, self._options.echo_key)

    def _decide(self, envelope: Envelope, place: Place) -> Verdict:
        if refusal := self.refuse_key(envelope.key):
            return Verdict(refusal)
        if envelope.body is None:
            return Verdict(not_json())
        unsupported = self._options.unsupported
        if refusal := refuse_parameter(envelope.body, unsupported):
            return Verdict(refusal)
        try:
            asked = envelope.read(without_ignored(envelope.body, unsupported), envelope.digest)
            marker = read_marker(envelope.raw)
        except InvalidRequestError as error:
            return Verdict(error_reply(400, error.body))
        except UsageError as error:
            return Verdict(error_reply(400, ErrorBody(f"{error.message} {error.hint}", code="unknown_fault")))
        refusal = (
            self._refuse(asked.whole)
            or self._refuse_pack(asked, len(envelope.raw))
            or self._refuse_crowd(place.in_flight)
        )
        return Verdict(refusal) if refusal else self._admit(asked, place, marker)

    def _refuse(self, request: ChatRequest) -> Reply | None:
        if self._options.models and request.model not in self._options.models:
            return model_not_found(request.model)
        context = self._options.context_tokens
        completion = request.max_tokens or 0
        if context is not None and request.prompt_tokens + completion > context:
            return context_length_exceeded(context, request.prompt_tokens, completion)
        if self._quota.is_empty(self._options.quota_after, self._options.quota_back_s, self._now()):
            return quota_exhausted() if self._options.quota_error == "quota" else FAILURES["402"]
        return None

    def _refuse_crowd(self, in_flight: int) -> Reply | None:
        most = self._options.latency.refuse_above
        return None if most is None or in_flight <= most else failure_reply(self._notice.overload, self._details)

    def _refuse_pack(self, asked: Asked, size_bytes: int) -> Reply | None:
        vectors, style = asked.vectors, self._options.vectors
        if vectors is None:
            return None
        if vectors.as_base64 and style.base64 == "refuse":
            message = "Invalid value: 'base64'. Supported values are: 'float'."
            return error_reply(400, ErrorBody(message, param="encoding_format", code="invalid_value"))
        if style.most_inputs is not None and len(vectors.inputs) > style.most_inputs:
            message = f"batch size {len(vectors.inputs)} > maximum allowed batch size {style.most_inputs}"
            return error_reply(413, ErrorBody(message, type="Validation"))
        if style.most_bytes is not None and size_bytes > style.most_bytes:
            return body_too_large(style.most_bytes)
        return None

    def _admit(self, asked: Asked, place: Place, marker: Marker | None) -> Verdict:
        request, now = asked.whole, self._now()
        charge = Charge(request.prompt_tokens, request.n * (request.max_tokens or _UNSTATED_MAX_TOKENS))
        admission = self._gate.admit(charge, now)
        self.rates.note(charge, admission, now)
        told = Told(admission.standings, admission.refusal, request.model, self._today())
        if admission.refusal is None:
            elapsed_s = self.rates.elapsed_s(now)
            verdict = self._answer(asked, place, self._faults.choose(place.number, request.digest, marker, elapsed_s))
        else:
            verdict = Verdict(self._notice.refuse(told, admission.refusal))
        headers = {**verdict.reply.headers, **self._notice.headers(told)}
        return replace(verdict, reply=replace(verdict.reply, headers=headers))

    def _answer(self, asked: Asked, place: Place, fault: str | None) -> Verdict:
        stamp = Stamp(self._options.seed, place.number, int(self._today()))
        answer = build_joint_answer(asked, self._options.answers, stamp)
        request, usage, dress, vectors = asked.whole, answer["usage"], asked.dress, asked.vectors
        if vectors is not None:
            usage["completion_tokens"] = 0
            dress = partial(dress_vectors, vectors, self._options.vectors, fault)
        reply = shape(fault, answer, self._details, dress)
        if request.stream and reply.status == HTTPStatus.OK and fault not in SPOILS:
            reply = stream_reply(reply, fault, self._details, include_usage=request.include_usage)
        if reply.status != HTTPStatus.OK or fault in ANSWERLESS or (reply.events and fault in STREAM_ANSWERLESS):
            return Verdict(reply, fault=fault)
        self._quota.granted += 1
        tokens = Tokens(usage["prompt_tokens"], usage["completion_tokens"])
        load = Load(place.number, tokens.completion, place.in_flight)
        first_s, rest_s = latency_parts_s(self._options.latency, self._options.seed, load)
        if reply.events:
            return Verdict(reply, first_s, fault, tokens, pace_s=rest_s / len(reply.events))
        return Verdict(reply, first_s + rest_s, fault, tokens)


def delivery_of(fault: str | None) -> str | None:
    """Return how the reply is to be delivered, if `fault` is about that."""
    return fault if fault in DELIVERIES else None
