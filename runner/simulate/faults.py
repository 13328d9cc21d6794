"""Owns which request meets which fault, and what a fault does to the reply.

A script by arrival number comes first, then a marker in the request, then the seeded fractions of a span of time, then
those that always hold. A marker `[[fault:cut]]` strikes every time; `[[fault:500*2]]` strikes the first two times this
request arrives, then it passes.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import accumulate
from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.simulate.chance import uniform
from runner.simulate.failures import FAILURES, failure_reply
from runner.simulate.forms import plain
from runner.simulate.replies import json_reply
from runner.simulate.spoils import SPOILS
from runner.simulate.streams import STREAM_SPOILS
from runner.simulate.times import span_from_text
from runner.simulate.variants import VARIANTS
from runner.simulate.vectors import VECTOR_FAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.simulate.details import FaultDetails
    from runner.simulate.replies import Reply
    from runner.simulate.variants import Answer, Dress

NO_FAULT = "ok"
# What happens to the connection rather than to the reply; `delivery` acts them out.
DELIVERIES = frozenset(
    {"reset", "disconnect", "cut", "cut_chunked", "hang", "stall", "drip", "keepalive_close", "idle_close"}
    | {"stream_cut", "stream_stall", "stream_open"},
)
# Those of vectors are for embeddings; they change nothing elsewhere.
KINDS = (
    frozenset(FAILURES)
    | frozenset(VARIANTS)
    | frozenset(SPOILS)
    | frozenset(STREAM_SPOILS)
    | frozenset(VECTOR_FAULTS)
    | DELIVERIES
)
# 200s that hold nothing a client could keep; they count as no answer in the ledger and against the quota.
ANSWERLESS = frozenset(
    {"empty_200", "html_200", "garbage_json", "null_json", "error_in_200", "sse_200", "no_choices"},
)
_MARKER = re.compile(rb"\[\[fault:([a-z0-9_]+)(?:\*([0-9]{1,6}))?\]\]")


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """Fractions that hold from `from_s` to `until_s` seconds after the first request."""

    from_s: float
    until_s: float
    fractions: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FaultRules:
    """Which faults strike: `fractions` of requests by kind, drawn with the server's seed; `script` by arrival number.

    Arrivals count from 1. The script's `ok` means no fault, whatever the fractions say. Who meets no fault of a span
    may meet one of the fractions.
    """

    fractions: Mapping[str, float] = field(default_factory=dict)
    script: Mapping[int, str] = field(default_factory=dict)
    spans: tuple[FaultSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class Marker:
    """A fault asked for by the request itself; `times` None is always."""

    kind: str
    times: int | None = None


class FaultPlan:
    """Chooses faults. Its only memory is how often a request with a counted marker has arrived."""

    def __init__(self, rules: FaultRules, seed: int) -> None:
        self._rules = rules
        self._seed = seed
        self._met: Counter[str] = Counter()

    def choose(self, number: int, digest: str, marker: Marker | None, elapsed_s: float = 0.0) -> str | None:
        """Return the kind of fault that request `number` meets, or None; `elapsed_s` is counted from the first."""
        if scripted := self._rules.script.get(number):
            return None if scripted == NO_FAULT else scripted
        if marker is not None and self._strikes(digest, marker):
            return marker.kind
        for index, span in enumerate(self._rules.spans):
            if span.from_s <= elapsed_s < span.until_s:
                struck = self._draw(f"fault:{index}", number, span.fractions)
                if struck is not None:
                    return struck
        return self._draw("fault", number, self._rules.fractions)

    def _draw(self, label: str, number: int, fractions: Mapping[str, float]) -> str | None:
        if not fractions:
            return None
        u = uniform(label, self._seed, number)
        bounds = zip(fractions, accumulate(fractions.values()), strict=True)
        return next((kind for kind, bound in bounds if u < bound), None)

    def _strikes(self, digest: str, marker: Marker) -> bool:
        if marker.times is None:
            return True
        self._met[digest] += 1
        return self._met[digest] <= marker.times


def read_marker(raw: bytes) -> Marker | None:
    """Return the fault that a request's body asks for. Raises UsageError for an unknown kind."""
    found = _MARKER.search(raw) if b"[[fault:" in raw else None
    if found is None:
        return None
    kind = found[1].decode()
    check_kind(kind)
    return Marker(kind, int(found[2]) if found[2] else None)


def shape(fault: str | None, answer: Answer, details: FaultDetails, dress: Dress = plain) -> Reply:
    """Return what is sent in place of `answer` (which may be changed) when it meets `fault`.

    `answer` is in the shape of chat; `dress` puts it into the shape that was asked for.
    """
    if fault is None:
        return json_reply(200, dress(answer))
    if fault in FAILURES:
        return failure_reply(fault, details)
    if fault in SPOILS:
        return SPOILS[fault](answer, details, dress)
    if fault in VARIANTS:
        VARIANTS[fault](answer)
    return json_reply(200, dress(answer))


def check_rules(rules: FaultRules) -> None:
    """Raise UsageError for an unknown kind or for fractions that are no fractions."""
    for kind in rules.script.values():
        if kind != NO_FAULT:
            check_kind(kind)
    for fractions in (rules.fractions, *(span.fractions for span in rules.spans)):
        _check_fractions(fractions)
    if any(number < 1 for number in rules.script):
        raise UsageError("A fault script counts requests from 1.")


def fraction_from_text(text: str) -> tuple[str, float]:
    """Read `503=0.01` as a kind and its fraction. Raises UsageError."""
    kind, _, fraction = text.partition("=")
    try:
        return kind, float(fraction)
    except ValueError:
        raise UsageError(f"Fault {text!r}: expected KIND=FRACTION.", hint="for example 503=0.01") from None


def fault_span_from_text(text: str) -> FaultSpan:
    """Read `60s-120s:503=0.5`. Raises UsageError."""
    span, _, fraction = text.partition(":")
    try:
        begin_s, end_s = span_from_text(span)
    except ValueError:
        raise UsageError(
            f"Fault {text!r}: expected FROM-UNTIL:KIND=FRACTION.", hint="for example 60s-120s:503=0.5"
        ) from None
    return FaultSpan(begin_s, end_s, dict([fraction_from_text(fraction)]))


def _check_fractions(fractions: Mapping[str, float]) -> None:
    for kind in fractions:
        check_kind(kind)
    if any(not fraction >= 0 for fraction in fractions.values()) or sum(fractions.values()) > 1 + 1e-9:
        raise UsageError(
            f"Fault fractions must be at least 0 and at most 1 in sum: {dict(fractions)}.",
            hint="0.01 is one request in a hundred",
        )


def check_kind(kind: str) -> None:
    """Raise UsageError for a kind that does not exist."""
    if kind not in KINDS:
        close = get_close_matches(kind, sorted(KINDS), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(sorted(KINDS))}"
        raise UsageError(f"There is no fault {kind!r}.", hint=hint)
