"""Owns how rows become cases that can share requests: the input of each apart from all that stands around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson
from orjson import dumps

from runner.digest import digest128
from runner.errors import TemplateError
from runner.pipeline.requests.cases import CaseColumns, PackedCases
from runner.pipeline.requests.fingerprint import (
    UnusableRowError,
    answer_of,
    kept_row,
    kept_values,
    key_endings,
    occurrence_digest,
    row_digest,
    sample_id,
    sample_ids,
    target_text,
    target_texts,
)
from runner.pipeline.requests.packing import Loose
from runner.records import Case, Request, Wrapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runner.pipeline.requests.fingerprint import RequestPlan, Row, RowReader
    from runner.pipeline.requests.packing import Packing


class LooseBuilder:
    """Makes the cases of rows; what is the same for all of them is worked out once."""

    __slots__ = ("_constant", "_encode", "_endings", "_packing", "_plan")

    def __init__(self, plan: RequestPlan, packing: Packing) -> None:
        self._plan = plan
        self._packing = packing
        self._encode = packing.content.encoder()
        self._endings = key_endings(plan)
        self._constant: list[_Around] | None = None
        if all(template.constant for template in packing.others.values()):
            self._constant = self._around({})

    def build_all(
        self, reader: RowReader, rows: Sequence[Any], occurrences: Sequence[int] | None
    ) -> list[Loose] | None:
        """Return the cases of rows that are all alike, by repeat; null where they have to be built one by one.

        The same as `build` gives for each, in less than half the time. `occurrences` null stands for zeros.
        """
        plan = self._plan
        if self._constant is None or not plan.template.certain or (found := reader.read_all(rows)) is None:
            return None
        contents, carries = found
        start = plan.request_digest
        digests = [blake2b(start + content, digest_size=16).digest() for content in contents]
        if occurrences is not None:
            digests = list(map(occurrence_digest, digests, occurrences))
        try:
            ids = sample_ids(plan, rows, contents, occurrences)
            inputs = list(map(self._encode, rows))
            cases = CaseColumns(
                keys=[],
                sample_ids=ids,
                repeats=[],
                row_digests=digests,
                carries=carries,
                targets=target_texts(plan, rows),
                kept=kept_values(plan, rows),
                sizes=list(map(len, inputs)),
            )
        except (UnusableRowError, TemplateError, TypeError, KeyError):
            return None
        if not all(map(_is_one, inputs)):
            return None
        texts = list(map(dumps, ids))
        return [self._loose(number, cases, texts, inputs) for number in range(plan.repeats)]

    def _loose(self, number: int, cases: CaseColumns, ids: list[bytes], inputs: list[bytes]) -> Loose:
        """Return the cases of one repeat; `ids` are theirs as JSON."""
        constant = (self._constant or ())[number]
        middle, after = self._endings[number] + constant.before, constant.after
        keys = [
            blake2b(b'["v1",%b%b%b%b' % (own_id, middle, content, after), digest_size=16).digest()
            for own_id, content in zip(ids, inputs, strict=True)
        ]
        own = replace(cases, keys=keys, repeats=[number] * len(keys))
        return Loose(own, inputs, self._plan.path, constant.choices, constant.wrapping)

    def build(self, row: Row) -> list[Loose | Request]:
        """Return a row's cases, one for each repeat; one whose input is several becomes a request of its own.

        Raises TemplateError when a template fails for it.
        """
        plan, values = self._plan, row.values
        own_id = sample_id(plan, values, row.content, row.occurrence)
        digest = occurrence_digest(row_digest(plan, row.content), row.occurrence)
        kept, target = kept_row(plan, values), target_text(plan, values)
        content = self._encode(values)
        prefix = b'["v1",' + dumps(own_id)
        made: list[Loose | Request] = []
        for number, around in enumerate(self._constant or self._around(values)):
            key = digest128(b"".join((prefix, self._endings[number], around.before, content, around.after)))
            case = Case(key, own_id, number, digest, row.carry, target, b"", len(content))
            cases = CaseColumns.single(case, kept)
            if _is_one(content):
                made.append(Loose(cases, [content], plan.path, around.choices, around.wrapping))
            else:
                made.append(self._alone(cases, content, around))
        return made

    def _alone(self, cases: CaseColumns, content: bytes, around: _Around) -> Request:
        """Return the request of a case whose input is several, or nothing that an input can be: the server decides."""
        plan, wrapping = self._plan, around.wrapping
        logical = orjson.loads(around.before + content + around.after)
        body = plan.wire(logical) if plan.wire else wrapping.before + content + wrapping.after
        reserve = plan.endpoint.reserve_tokens(logical, len(content))
        choices = plan.endpoint.choices_wanted(logical)
        answer_tokens, unbounded = answer_of(plan, logical)
        return Request(
            cases.keys[0],
            plan.path,
            body,
            PackedCases.of(cases),
            choices,
            reserve,
            wrapping=wrapping,
            answer_tokens=answer_tokens,
            unbounded=unbounded,
        )

    def _around(self, values: Mapping[str, Any]) -> list[_Around]:
        """Return what stands around the input, for each repeat."""
        plan, around = self._plan, self._packing.around
        fields = {key: template.render(values) for key, template in self._packing.others.items()}
        seed = fields.get("seed")
        if plan.repeats == 1 or type(seed) is not int:
            return [_Around.of(plan, fields, around)] * plan.repeats
        return [_Around.of(plan, {**fields, "seed": seed + repeat}, around) for repeat in range(plan.repeats)]


@dataclass(frozen=True, slots=True)
class _Around:
    """A body without its input: `before` and `after` are what stands around it in the sample's own request.

    That is the one its key is made of; `wrapping` is what goes over the wire.
    """

    wrapping: Wrapping
    before: bytes
    after: bytes
    choices: int

    @classmethod
    def of(
        cls,
        plan: RequestPlan,
        fields: dict[str, Any],
        around: Callable[[Mapping[str, Any]], tuple[bytes, bytes]] | None,
    ) -> _Around:
        endpoint = plan.endpoint
        before, after = _halves(fields, endpoint.field)
        body = {**fields, endpoint.field: ""}
        (reserve, unbounded), choices = answer_of(plan, body), endpoint.choices_wanted(body)
        if around is not None:
            wrapping = Wrapping(*around(fields), None, reserve, always_array=True, unbounded=unbounded)
            return cls(wrapping, before, after, choices)
        encoding = endpoint.packable.encoding if endpoint.packable else None
        if encoding is None or encoding[0] in fields:
            return cls(Wrapping(before, after, None, reserve, unbounded=unbounded), before, after, choices)
        encoded = _halves({**fields, encoding[0]: encoding[1]}, endpoint.field)[0]
        return cls(Wrapping(encoded, after, before, reserve, unbounded=unbounded), before, after, choices)


def _halves(fields: Mapping[str, Any], field: str) -> tuple[bytes, bytes]:
    """Return the JSON of an object with sorted keys, as it stands before and after the value of `field`."""
    before = dumps({key: fields[key] for key in fields if key < field}, option=orjson.OPT_SORT_KEYS)[:-1]
    after = dumps({key: fields[key] for key in fields if key > field}, option=orjson.OPT_SORT_KEYS)[1:]
    comma = b"," if len(before) > 1 else b""
    return before + comma + dumps(field) + b":", (b"," if len(after) > 1 else b"") + after


def _is_one(content: bytes) -> bool:
    """Say whether JSON is a single input: a text, or a list of token ids."""
    return content[:1] == b'"' or (content[:1] == b"[" and content[1:2].isdigit())
