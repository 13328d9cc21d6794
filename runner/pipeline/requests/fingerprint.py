"""Owns the identity of dataset rows: what a request is made of, reduced to digests; a position never enters it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import repeat
from operator import itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

import orjson
from orjson import dumps

from runner.digest import digest128, json_bytes
from runner.endpoints import prompt_bytes
from runner.errors import TemplateError
from runner.readers import check_batch_row, is_batch_row
from runner.records import Case, Request, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runner.endpoints import Endpoint, Template
    from runner.pipeline.requests.packing import Packing

_T = TypeVar("_T")
_MISSING = {"evalrunner": "no such column"}
_MOST_SHAPES = 4096


class UnusableRowError(ValueError):
    """A row that parses but cannot be used; the message is the reason shown to the user."""


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """How rows become requests: all of a run that enters a key, and which columns ride along.

    `id_column` null means that a row's id is a hash of the columns the templates use; `kept` null keeps all columns.
    `fixed` is all of a request's body that is the same for every row, null where only the whole body tells how many
    choices it asks for. `ready_made` says that rows are OpenAI Batch lines, whose `body` is sent as it is. Where there
    is an adapter, `wire` makes of a rendered body the bytes that are sent, `target` the path where that is not the same
    for all (`path` is then the one that is written in the adapter), and `wire_digest` stands for both in keys.
    `stream` asks for streams; `packing` is null where every sample is a request of its own; neither enters a key.
    `file_digests` gives the digests of the files that a row's request is made of, null where templates read no files;
    it raises TemplateError for every row that cannot be rendered.
    """

    endpoint: Endpoint
    path: str
    model: str
    template: Template
    id_column: str | None
    target_column: str | None
    kept: tuple[str, ...] | None
    repeats: int
    ready_made: bool = False
    fixed: dict[str, Any] | None = None
    stream: bool = False
    request_digest: bytes = field(default=b"")
    wire: Callable[[Mapping[str, Any]], bytes] | None = None
    target: Callable[[Mapping[str, Any]], str] | None = None
    wire_digest: bytes = b""
    packing: Packing | None = None
    file_digests: Callable[[Mapping[str, Any]], bytes] | None = None

    def identified(self, request: Any) -> RequestPlan:
        """Return the plan with the digest of the request's config, which every row digest covers."""
        fields = [self.endpoint.name, self.path, self.model, self.id_column, self.ready_made, request]
        if self.wire_digest:
            fields.append(self.wire_digest.hex())
        return replace(self, request_digest=digest128(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)))

    def render(self, values: Mapping[str, Any]) -> None:
        """Make a row's body and drop it. Raises TemplateError when a template fails for the row."""
        body = self.template.render(values)
        if self.wire is not None:
            self.wire(body)
        if self.target is not None:
            self.target(body)


class RowReader:
    """Reduces rows to what identifies them; what depends on their columns alone is worked out once for all alike.

    Of each row it gives `content`, the canonical bytes of the values its request is made of (with the digests of the
    files that these name), and `carry`, a 32-bit checksum of everything that only rides along. UnusableRowError is
    raised for a row without a usable id, for one whose templates cannot be rendered because a column is missing or
    null, and for one whose files cannot be sent.
    """

    __slots__ = ("_carried", "_plan", "_shapes", "_used")

    def __init__(self, plan: RequestPlan) -> None:
        self._plan = plan
        self._used = plan.template.columns if plan.id_column is None else (plan.id_column, *plan.template.columns)
        self._carried = None if plan.kept is None else {*plan.kept, plan.target_column}
        self._shapes: dict[tuple[str, ...], _Shape] = {}

    def read(self, values: Mapping[str, Any]) -> tuple[bytes, int]:
        """Return content and carry of a row. Raises UnusableRowError, TypeError for what JSON cannot hold."""
        if self._plan.ready_made:
            return _read_batch_row(values, self._plan.endpoint.batch_url), 0
        columns = tuple(values)
        shape = self._shapes.get(columns)
        if shape is None:
            shape = self._add_shape(columns)
        picked = shape.pick_used(values)
        if shape.missing or None in picked:
            self._check(values, shape)
        # Behind JSON, which never holds the byte 0, come digests of files.
        files = b"" if self._plan.file_digests is None else b"\0" + _usable(self._plan.file_digests, values)
        try:
            return dumps(picked) + files, crc32(dumps(shape.pick_rest(values)), shape.seed)
        except TypeError:
            return json_bytes(picked) + files, crc32(json_bytes(shape.pick_rest(values)), shape.seed)

    def read_all(self, rows: Sequence[Any]) -> tuple[list[bytes], list[int]] | None:
        """Return contents and carries of rows that all have the same columns and values; else null: `read` tells why.

        The same as `read` gives for each, in half the time.
        """
        if self._plan.ready_made or self._plan.file_digests is not None or set(map(type, rows)) != {dict}:
            return None
        columns = tuple(rows[0])
        shape = self._shapes.get(columns) or self._add_shape(columns)
        if shape.missing or set(map(len, rows)) != {len(columns)}:
            return None
        # As many columns as the first, and all that are picked: the same ones, where all of them are picked.
        if self._carried is not None and any(row.keys() != rows[0].keys() for row in rows):
            return None
        try:
            picked = _columns_of(rows, self._used)
            if any(None in values for values in picked):
                return None
            rest, seed = _columns_of(rows, shape.rest), shape.seed
            return list(map(dumps, picked)), [crc32(text, seed) for text in map(dumps, rest)]
        except (KeyError, TypeError):
            return None

    def _add_shape(self, columns: tuple[str, ...]) -> _Shape:
        if len(self._shapes) >= _MOST_SHAPES:
            self._shapes.clear()
        used = set(self._used)
        rest = sorted(name for name in columns if name not in used and (self._carried is None or name in self._carried))
        shape = _Shape(
            pick_used=_picker(self._used, columns),
            rest=tuple(rest),
            pick_rest=_picker(tuple(rest), columns),
            seed=crc32("\0".join(rest).encode("utf-8", "replace")),
            missing=tuple(name for name in self._used if name not in columns),
        )
        self._shapes[columns] = shape
        return shape

    def _check(self, values: Mapping[str, Any], shape: _Shape) -> None:
        """Find out by rendering: a template may do without (`{% if hint is defined %}`, `{{ hint or '' }}`)."""
        id_column = self._plan.id_column
        if id_column is not None and id_column in shape.missing:
            raise UnusableRowError(f"the row has no '{id_column}', the id column")
        if self._plan.file_digests is None:
            _usable(self._plan.render, values)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What depends on a row's columns alone: `rest` is what rides along, `seed` stands for its names."""

    pick_used: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    rest: tuple[str, ...]
    pick_rest: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    seed: int
    missing: tuple[str, ...]


def _usable(render: Callable[[Mapping[str, Any]], _T], values: Mapping[str, Any]) -> _T:
    try:
        return render(values)
    except TemplateError as error:
        raise UnusableRowError(f"{error.message} ({error.hint})" if error.hint else error.message) from error


def row_digest(plan: RequestPlan, content: bytes) -> bytes:
    """Return the 16-byte digest of a row's request values under this plan."""
    return blake2b(plan.request_digest + content, digest_size=16).digest()


def row_digests(plan: RequestPlan, contents: Sequence[bytes]) -> list[bytes]:
    """Return the digests of rows by their contents."""
    prefix = plan.request_digest
    return [blake2b(prefix + content, digest_size=16).digest() for content in contents]


def occurrence_digest(digest: bytes, occurrence: int) -> bytes:
    """Return the digest of the nth row (from 0) with equal content, where rows have no id of their own."""
    return digest if occurrence == 0 else digest128(digest + occurrence.to_bytes(8, "little"))


def sample_id(plan: RequestPlan, values: Mapping[str, Any], content: bytes, occurrence: int) -> str:
    """Return a row's id: the id column's value, or a hash of the columns its templates use with its occurrence."""
    if plan.id_column is None:
        own = digest128(content).hex()
        return own if occurrence == 0 else f"{own}-{occurrence + 1}"
    return id_text(plan.id_column, values[plan.id_column])


def id_text(column: str, value: Any) -> str:
    """Return an id as text. Raises UnusableRowError for what cannot be one."""
    if type(value) is str and value:
        return value
    if type(value) is int:
        return str(value)
    raise UnusableRowError(f"the id column '{column}' is {_describe(value)}; an id is a text or a whole number")


def sample_ids(
    plan: RequestPlan, rows: Sequence[Mapping[str, Any]], contents: Sequence[bytes], occurrences: Sequence[int] | None
) -> list[str]:
    """Return the ids of rows; `occurrences` null stands for zeros. Raises UnusableRowError."""
    if plan.id_column is None or occurrences is not None:
        return list(map(sample_id, repeat(plan), rows, contents, occurrences or repeat(0)))
    ids = list(map(itemgetter(plan.id_column), rows))
    if set(map(type, ids)) == {str} and all(ids):
        return ids
    return [id_text(plan.id_column, own_id) for own_id in ids]


def kept_columns(plan: RequestPlan, values: Mapping[str, Any]) -> bytes:
    """Return the kept columns of a row as a JSON object."""
    return json_bytes(kept_row(plan, values))


def kept_row(plan: RequestPlan, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the kept columns of a row as they are."""
    if plan.ready_made:
        return {}
    return values if plan.kept is None else {name: values[name] for name in plan.kept if name in values}


def kept_values(plan: RequestPlan, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the kept columns of rows that all have the same ones. Raises KeyError where they do not."""
    return {name: list(map(itemgetter(name), rows)) for name in kept_row(plan, rows[0])}


def target_text(plan: RequestPlan, values: Mapping[str, Any]) -> str | None:
    """Return the reference answer as text; anything but a text as JSON."""
    return None if plan.target_column is None else _as_text(values.get(plan.target_column))


def target_texts(plan: RequestPlan, rows: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return the reference answers of rows."""
    column = plan.target_column
    found = [None if column is None else row.get(column) for row in rows]
    return found if set(map(type, found)) <= {str, NoneType} else list(map(_as_text, found))


def _as_text(target: Any) -> str | None:
    return target if target is None or type(target) is str else json_bytes(target).decode()


@value
class Row:
    """One usable row on its way to its requests: its values, its `RowReader` result and how often it stood before."""

    values: Mapping[str, Any]
    content: bytes
    carry: int
    occurrence: int


class RequestBuilder:
    """Makes the requests of rows; what is the same for all of them is worked out once."""

    __slots__ = ("_encode", "_fixed_answer", "_fixed_choices", "_key_rests", "_plan")

    def __init__(self, plan: RequestPlan) -> None:
        self._plan = plan
        self._encode = plan.template.encoder()
        self._fixed_choices = None if plan.fixed is None else plan.endpoint.choices_wanted(plan.fixed)
        self._fixed_answer = None if plan.fixed is None else answer_of(plan, plan.fixed)
        self._key_rests = key_endings(plan)

    def build(self, row: Row) -> list[Request]:
        """Return the requests of one row, one for each repeat. Raises TemplateError when a template fails for it."""
        plan, values = self._plan, row.values
        own_id = sample_id(plan, values, row.content, row.occurrence)
        digest = occurrence_digest(row_digest(plan, row.content), row.occurrence)
        columns, target = kept_columns(plan, values), target_text(plan, values)
        # The key is the digest of ["v1", sample id, repeat, endpoint, model] and the body, and of the adapter if any.
        prefix = b'["v1",' + dumps(own_id)
        body, wanted, encoded = self._bodies(values)
        answer_tokens, unbounded = self._fixed_answer or answer_of(plan, body)
        path = plan.path if plan.target is None else plan.target(body)
        requests = []
        for number, (own, sent) in enumerate(encoded):
            key = digest128(prefix + self._key_rests[number] + sent)
            sent_bytes = sent if plan.wire is None else plan.wire(own)
            case = Case(key, own_id, number, digest, row.carry, target, columns)
            reserve = plan.endpoint.reserve_tokens(body, prompt_bytes(sent_bytes))
            if plan.stream and plan.endpoint.stream is not None:
                sent_bytes = plan.endpoint.stream.ask(sent_bytes)
            requests.append(
                Request(
                    key,
                    path,
                    sent_bytes,
                    (case,),
                    wanted,
                    reserve,
                    plan.stream,
                    answer_tokens=answer_tokens,
                    unbounded=unbounded,
                )
            )
        return requests

    def _bodies(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], int, list[tuple[dict[str, Any], bytes]]]:
        """Return the body as an object, the choices it asks for, and object and bytes of each repeat.

        Where parameters are fixed, the object holds no more than these.
        """
        plan = self._plan
        if plan.fixed is not None and self._fixed_choices is not None:
            return plan.fixed, self._fixed_choices, [(plan.fixed, self._encode(values))] * plan.repeats
        body = values["body"] if plan.ready_made else plan.template.render(values)
        seed = body.get("seed")
        if plan.repeats > 1 and type(seed) is int:
            owns = [{**body, "seed": seed + number} for number in range(plan.repeats)]
            encoded = [(own, dumps(own, option=orjson.OPT_SORT_KEYS)) for own in owns]
        else:
            encoded = [(body, dumps(body, option=orjson.OPT_SORT_KEYS))] * plan.repeats
        return body, plan.endpoint.choices_wanted(body), encoded


def answer_of(plan: RequestPlan, body: dict[str, Any]) -> tuple[int, bool]:
    """Return the tokens to expect of an answer, and whether it may be of any length."""
    return plan.endpoint.reserve_tokens(body, 0), plan.endpoint.longest_answer(body) is None


def key_endings(plan: RequestPlan) -> list[bytes]:
    """Return what stands in a key's text between the sample's id and the body, for each repeat."""
    model = None if plan.ready_made else plan.model
    wire = [plan.wire_digest.hex()] if plan.wire_digest else []
    rests = (dumps([number, plan.endpoint.name, model, *wire])[1:] for number in range(plan.repeats))
    return [b"," + rest for rest in rests]


def _read_batch_row(values: Mapping[str, Any], url: str | None) -> bytes:
    if not is_batch_row(values):
        raise UnusableRowError("the row is no OpenAI Batch request (custom_id, method, url, body)")
    problem = check_batch_row(values)
    if problem is None and values["url"] != url:
        problem = f"url {values['url']!r} is not that of request.endpoint, {url}"
    if problem is not None:
        raise UnusableRowError(problem)
    return orjson.dumps([values["custom_id"], values["body"]])


def _picker(names: tuple[str, ...], columns: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return a function that picks values by name; a name that these columns lack gives a mark no value equals."""
    if any(name not in columns for name in names):
        return lambda values: tuple(values.get(name, _MISSING) for name in names)
    if len(names) > 1:
        return itemgetter(*names)
    return (lambda values: (values[names[0]],)) if names else (lambda _: ())


def _columns_of(rows: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Return the values of some columns, a tuple for each row."""
    if not names:
        return [()] * len(rows)
    return list(zip(*(map(itemgetter(name), rows) for name in names), strict=True))


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    return "an empty text" if value == "" else f"{type(value).__name__} {str(value)[:40]!r}"
