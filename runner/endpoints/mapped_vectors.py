"""Owns the vectors of an adapter's answer: where they stand, and which of them is of which input.

With `index`, which counts from 0, they are joined by it, as those of the built-in endpoint are. Without, their order is
all there is, and it says something only if there are as many as inputs: servers leave out what they could not embed,
and a vector that is given to the wrong sample is worse than none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.answers import missing_choice
from runner.endpoints.embeddings import entries_by_index, output_of
from runner.endpoints.found import find_in, itself
from runner.endpoints.mapped_body import OF_VECTORS, BodyReader
from runner.endpoints.mapped_errors import UNMAPPED
from runner.errors import NoChoicesError, ParseError, kind_of
from runner.jsontext import loads
from runner.records import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.errors import RequestError
    from runner.records import Parsed

# A hostile answer may have millions of entries, and this is asked while the event loop waits.
_LOOKED_AT = 4096


class VectorReader:
    """Reads answers: the expressions of `response.embeddings` and of what stands around it, compiled."""

    def __init__(self, response: Mapping[str, Any]) -> None:
        self._section: Mapping[str, Any] = response["embeddings"]
        self._list, self._vector = find_in(self._section, "list"), find_in(self._section, "vector", itself)
        self._index = None if self._section.get("index") is None else find_in(self._section, "index")
        self.body = BodyReader(response, OF_VECTORS)

    def find_problem(self, body: Any) -> RequestError | None:
        """Say what keeps a 2xx JSON body from being an answer; null when it is one."""
        found = self._list(body)
        if not isinstance(found, list) or not found:
            return _finds_nothing("list", self._section["list"], "no vectors in the 2xx answer")
        if all(self._vector(entry) is None for entry in found[:_LOOKED_AT]):
            name = "list" if self._section.get("vector") is None else "vector"
            return _finds_nothing(name, self._section[name], f"nothing in the {len(found):,} entries of the 2xx answer")
        return None

    def parse(self, body: bytes, cases: int, choices: int) -> Parsed:
        """Read the vectors of an answer: exactly `choices` outputs for each case, input i for case i // choices.

        Raises ValueError when the body is no JSON, or holds no vector for this mapping.
        """
        value, note = loads(body)
        problem = self.find_problem(value)
        if problem is not None:
            raise ValueError(problem.message)
        notes = [note] if note else []
        outputs = self._joined(self._list(value), cases * choices, choices, notes)
        return self.body.parsed(value, tuple(zip(*[iter(outputs)] * choices, strict=True)), notes)

    def _joined(self, entries: list[Any], total: int, choices: int, notes: list[str]) -> list[Output]:
        alone = len(entries) == total == 1
        indexes = None if self._index is None else [self._index(entry) for entry in entries]
        if indexes is None or (alone and indexes == [None]):
            if len(entries) != total:
                return _unclear(f"{len(entries)} vectors for {total} inputs, and no index", total, choices)
            return [self._output(entry, place % choices) for place, entry in enumerate(entries)]
        where = f"at response.embeddings.index of the adapter (`{self._section['index']}`)"
        if all(index is None for index in indexes):
            return _unclear(f"nothing {where}", total, choices)
        if any(type(index) is int and not 0 <= index < total for index in indexes):
            # Counted from 1, or of other inputs: then the rest may not mean what they seem to.
            return _unclear(f"an index beyond 0 to {total - 1} {where}", total, choices)
        # Places, since an entry may itself be null.
        places = entries_by_index(range(len(entries)), indexes, total, notes)
        return [
            missing_choice(number % choices) if place is None else self._output(entries[place], number % choices)
            for number, place in enumerate(places)
        ]

    def _output(self, entry: Any, choice: int) -> Output:
        return output_of(self._vector(entry), choice)


def _finds_nothing(name: str, expression: str, what: str) -> NoChoicesError:
    message = f"response.embeddings.{name} of the adapter (`{expression}`) finds {what}"
    return NoChoicesError(message, hint=UNMAPPED)


def _unclear(why: str, total: int, choices: int) -> list[Output]:
    message = f"the answer has {why}, so that no vector can be given to a sample; its bytes are in raw/"
    kind = kind_of(ParseError)
    return [Output(place % choices, "failed", error_kind=kind, error_message=message) for place in range(total)]
