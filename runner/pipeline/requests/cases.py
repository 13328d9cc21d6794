"""Owns the cases of a request that holds several samples: kept as columns, and as the journal will have them.

A pack has thousands of cases, and all that is done with most of them is to write them down and to read them back. A
column at a time, that takes a fraction of what thousands of objects or of small JSON texts take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self, TypeAlias, overload

from orjson import Fragment, dumps, loads

from runner.digest import json_bytes
from runner.records import Case

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Cases in a journal's meta: a list for each (see `Ended.cases`), or an object with a list for each of their fields.
Listed: TypeAlias = "list[list[Any]] | dict[str, Any]"
# What the journal calls the fields of `CaseColumns`, in their order; keys and digests are joined hex texts.
_NAMES = ("keys", "sample_ids", "repeats", "row_digests", "carries", "targets", "columns", "input_bytes")
DIGEST_CHARACTERS = 32


@dataclass(slots=True)
class CaseColumns(Sequence[Case]):
    """Cases as a list for each of their fields; `kept` maps kept columns to their values, `sizes` are input bytes.

    A value of `kept` that orjson would refuse is a Fragment.
    """

    keys: list[bytes]
    sample_ids: list[str]
    repeats: list[int]
    row_digests: list[bytes]
    carries: list[int]
    targets: list[str | None]
    kept: dict[str, list[Any]]
    sizes: list[int]

    @classmethod
    def empty(cls) -> Self:
        """Return no cases, to which some can be added."""
        return cls([], [], [], [], [], [], {}, [])

    @classmethod
    def single(cls, case: Case, kept: Mapping[str, Any]) -> Self:
        """Return one case, whose kept columns are `kept`."""
        values = {name: [Fragment(json_bytes(value))] for name, value in kept.items()}
        digests = [case.row_digest], [case.carry_digest]
        return cls([case.key], [case.sample_id], [case.repeat], *digests, [case.target], values, [case.input_bytes])

    def __len__(self) -> int:
        """Return how many cases there are."""
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> Case: ...

    @overload
    def __getitem__(self, place: slice) -> Self: ...

    def __getitem__(self, place: int | slice) -> Case | Self:
        """Return one case as an object, or some of them."""
        if isinstance(place, slice):
            return self._picked(itemgetter(place))
        return Case(
            self.keys[place],
            self.sample_ids[place],
            self.repeats[place],
            self.row_digests[place],
            self.carries[place],
            self.targets[place],
            _encode({name: values[place] for name, values in self.kept.items()}),
            self.sizes[place],
        )

    def only(self, chosen: Sequence[bool]) -> Self:
        """Return the cases that are chosen."""
        return self._picked(lambda values: list(compress(values, chosen)))

    def add(self, others: CaseColumns) -> None:
        """Add cases behind these; a kept column that only some have is null for the others."""
        count = len(self)
        for name in others.kept:
            self.kept.setdefault(name, [None] * count)
        for name, values in self.kept.items():
            values.extend(others.kept.get(name) or [None] * len(others))
        self.keys += others.keys
        self.sample_ids += others.sample_ids
        self.repeats += others.repeats
        self.row_digests += others.row_digests
        self.carries += others.carries
        self.targets += others.targets
        self.sizes += others.sizes

    def _picked(self, pick: Callable[[list[Any]], list[Any]]) -> Self:
        return type(self)(
            keys=pick(self.keys),
            sample_ids=pick(self.sample_ids),
            repeats=pick(self.repeats),
            row_digests=pick(self.row_digests),
            carries=pick(self.carries),
            targets=pick(self.targets),
            kept={name: pick(values) for name, values in self.kept.items()},
            sizes=pick(self.sizes),
        )


class PackedCases(Sequence[Case]):
    """Cases of one request as the journal has them: `json` is a `Listed`. One by one they are rarely looked at."""

    __slots__ = ("_count", "json")

    def __init__(self, json: bytes, count: int) -> None:
        self.json = json
        self._count = count

    @classmethod
    def of(cls, cases: CaseColumns) -> Self:
        """Return cases of the same request."""
        count = len(cases)
        return cls(_encode_row(cases[0]) if count == 1 else _encode_columns(cases), count)

    @classmethod
    def each(cls, cases: CaseColumns) -> list[Self]:
        """Return every case as those of a request of its own."""
        keys, digests = ([text.hex() for text in texts] for texts in (cases.keys, cases.row_digests))
        kept = _rows_of(cases.kept, len(cases))
        values = (keys, cases.sample_ids, cases.repeats, digests, cases.carries, cases.targets, kept, cases.sizes)
        try:
            return [cls(b"[%b]" % dumps(row), 1) for row in zip(*values, strict=True)]
        except TypeError:  # of what orjson refuses
            return [cls.of(cases[place : place + 1]) for place in range(len(cases))]

    def __len__(self) -> int:
        """Return how many cases there are."""
        return self._count

    @overload
    def __getitem__(self, place: int) -> Case: ...

    @overload
    def __getitem__(self, place: slice) -> CaseColumns: ...

    def __getitem__(self, place: int | slice) -> Case | CaseColumns:
        """Return one case as an object, or some of them."""
        return self.columns()[place]

    def columns(self) -> CaseColumns:
        """Return them as columns."""
        listed = loads(self.json)
        if isinstance(listed, list):
            key, own_id, repeat, digest, carry, target, kept, size = listed[0]
            case = Case(bytes.fromhex(key), own_id, repeat, bytes.fromhex(digest), carry, target, b"", size)
            return CaseColumns.single(case, kept)
        keys, ids, repeats, digests, *rest = (listed[name] for name in _NAMES)
        return CaseColumns(_digests(keys), ids, repeats, _digests(digests), *rest)


def count_cases(listed: Listed) -> int:
    """Return how many cases a journal's meta lists."""
    return len(listed) if isinstance(listed, list) else len(listed["sample_ids"])


def case_keys(listed: Listed) -> list[str]:
    """Return the keys of the cases that a journal's meta lists, as hex texts."""
    return [case[0] for case in listed] if isinstance(listed, list) else _texts(listed["keys"])


def input_bytes(listed: Listed) -> list[int]:
    """Return how many bytes of the body are each case's own input."""
    if isinstance(listed, list):
        return [case[7] if len(case) > 7 else 0 for case in listed]  # noqa: PLR2004 - the field's place
    sizes: list[int] = listed["input_bytes"]
    return sizes


def case_rows(listed: Listed) -> list[list[Any]]:
    """Return cases one by one, however a journal's meta lists them."""
    if isinstance(listed, list):
        return listed
    columns = dict(listed, keys=_texts(listed["keys"]), row_digests=_texts(listed["row_digests"]))
    columns["columns"] = _rows_of(columns["columns"], count_cases(listed))
    return list(map(list, zip(*(columns[name] for name in _NAMES), strict=True)))


def _rows_of(kept: dict[str, list[Any]], count: int) -> list[dict[str, Any]]:
    """Return kept columns by the case."""
    if not kept:
        return [{}] * count
    return [dict(zip(kept, values, strict=True)) for values in zip(*kept.values(), strict=True)]


def first_of(listed: dict[str, Any]) -> dict[str, Any]:
    """Return the first of cases that are listed by their fields."""
    kept = {name: values[:1] for name, values in listed["columns"].items()}
    hexed = {name: listed[name][:DIGEST_CHARACTERS] for name in ("keys", "row_digests")}
    return {**{name: kept if name == "columns" else listed[name][:1] for name in _NAMES}, **hexed}


def _encode_row(case: Case) -> bytes:
    fields = (case.key.hex(), case.sample_id, case.repeat, case.row_digest.hex(), case.carry_digest, case.target)
    return dumps([(*fields, Fragment(case.columns), case.input_bytes)])


def _encode_columns(cases: CaseColumns) -> bytes:
    keys, digests = (b"".join(texts).hex() for texts in (cases.keys, cases.row_digests))
    kept = {name: Fragment(_encode(values)) for name, values in cases.kept.items()}
    values = (keys, cases.sample_ids, cases.repeats, digests, cases.carries, cases.targets, kept, cases.sizes)
    return dumps(dict(zip(_NAMES, values, strict=True)))


def _encode(values: dict[str, Any] | list[Any]) -> bytes:
    """Return JSON, also of what is nested more deeply than orjson goes."""
    try:
        return dumps(values)
    except TypeError:
        if isinstance(values, dict):
            return dumps({name: _fragment(value) for name, value in values.items()})
        return dumps(list(map(_fragment, values)))


def _fragment(value: Any) -> Fragment:
    return value if isinstance(value, Fragment) else Fragment(json_bytes(value))


def _digests(joined: str) -> list[bytes]:
    return list(map(bytes.fromhex, _texts(joined)))


def _texts(joined: str) -> list[str]:
    return [joined[start : start + DIGEST_CHARACTERS] for start in range(0, len(joined), DIGEST_CHARACTERS)]
