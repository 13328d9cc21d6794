"""Owns the cases of a request that holds several samples: kept as the journal will have them, not as objects.

A pack has thousands of cases, and all that is done with most of them is to write them down. Their JSON is made once,
while the row's values are at hand; measured, objects in its place took six times as long to be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import orjson

from runner.records import Case

if TYPE_CHECKING:
    from collections.abc import Iterable


class PackedCases(Sequence[Case]):
    """Cases of one request: `keys` as hex texts, `entries` as JSON (see `encode_case`), `sizes` of inputs in bytes."""

    __slots__ = ("entries", "keys", "sizes")

    def __init__(self, keys: list[str], entries: list[bytes], sizes: list[int]) -> None:
        self.keys = keys
        self.entries = entries
        self.sizes = sizes

    def __len__(self) -> int:
        """Return how many cases there are."""
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> Case: ...

    @overload
    def __getitem__(self, place: slice) -> PackedCases: ...

    def __getitem__(self, place: int | slice) -> Case | PackedCases:
        """Return one case as an object, or some of them."""
        if isinstance(place, slice):
            return PackedCases(self.keys[place], self.entries[place], self.sizes[place])
        return _decode_case(self.entries[place])

    @classmethod
    def joined(cls, parts: Iterable[PackedCases]) -> PackedCases:
        """Return all cases of some."""
        whole = cls([], [], [])
        for part in parts:
            whole.keys += part.keys
            whole.entries += part.entries
            whole.sizes += part.sizes
        return whole

    def json(self) -> bytes:
        """Return them as a JSON list."""
        return b"[" + b",".join(self.entries) + b"]"


def encode_case(case: Case) -> bytes:
    """Return a case as JSON, in the order of `Ended.cases`."""
    fields = (case.key.hex(), case.sample_id, case.repeat, case.row_digest.hex(), case.carry_digest, case.target)
    return orjson.dumps((*fields, orjson.Fragment(case.columns), case.input_bytes))


def _decode_case(entry: bytes) -> Case:
    key, sample_id, repeat, digest, carry, target, columns, size = orjson.loads(entry)
    encoded = orjson.dumps(columns)
    return Case(bytes.fromhex(key), sample_id, repeat, bytes.fromhex(digest), carry, target, encoded, size)
