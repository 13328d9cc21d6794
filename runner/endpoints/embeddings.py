"""Owns the embeddings endpoint: which body a sample becomes, and which vectors an answer holds.

Shapes: OpenAI API reference, "Create embeddings" and "The embedding object". An input is a text or a list of token ids;
a list of either is several inputs. `embedding` is base64 of little-endian float32 where that was asked for, else a list
of numbers; servers that do not know base64 answer with the list. Of several inputs each answer is joined by its
`index` and never by its place: servers do reorder, and a vector that is given to the wrong sample is worse than none.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.endpoints.answers import missing_choice, parsed_from
from runner.endpoints.usage import count_tokens
from runner.endpoints.vectors import VectorError, decode_all, vector_in, without_infinities
from runner.endpoints.vectortable import read_table
from runner.errors import NoChoicesError, ParseError, kind_of
from runner.jsontext import loads
from runner.records import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runner.errors import RequestError
    from runner.records import Parsed, Usage

    Vector = NDArray[np.float32]

PATH = "/embeddings"
# Asked for unless the parameters say otherwise: half the bytes of a list of numbers, and no number is parsed.
ENCODING = ("encoding_format", "base64")

_EMBEDDING = re.compile(rb'"embedding"\s*:\s*"')
_USAGE = re.compile(rb'"usage"\s*:\s*(\{[^{}]*\})')
# An answer that is cut off ends otherwise.
_USAGE_LAST = re.compile(_USAGE.pattern + rb"[^{}]*\}\s*\Z")
_DATA_LAST = re.compile(rb"\]\s*\}\s*\Z")
_LOOK_BYTES = 2048
_LARGE_BYTES = 32 * 1024
# Stands for a text that was cut out of an answer; no base64 text is this.
_CUT = b"@"


def compose(content: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return the body, but for the model, of an input and parameters; all of it may hold templates."""
    return {"input": content, **params}


def asks_for_logprobs(_body: dict[str, Any]) -> bool:
    """Say that no embedding has log probabilities."""
    return False


def longest_answer(_body: dict[str, Any]) -> int | None:
    """Return 0: a vector takes no tokens."""
    return 0


def choices_wanted(body: dict[str, Any]) -> int:
    """Return how many vectors a request body asks for: one for each of its inputs."""
    return len(inputs_of(body.get("input")))


def inputs_of(content: Any) -> list[Any]:
    """Return the inputs that stand at `input`: those of a list, unless it holds numbers, the token ids of one input."""
    return content if isinstance(content, list) and content and not isinstance(content[0], int) else [content]


def reserve_tokens(_body: dict[str, Any], size_bytes: int) -> int:
    """Estimate the tokens a request will be charged: four bytes a token, and nothing for the answer."""
    return size_bytes // 4


def find_problem(body: Any) -> RequestError | None:
    """Say what keeps a 2xx JSON body from being an answer; null when it is one."""
    if isinstance(body, dict) and isinstance(body.get("data"), list) and body["data"]:
        return None
    return NoChoicesError(
        "the server's 2xx answer has no embeddings",
        hint="does model.base_url have an OpenAI-compatible /embeddings? model.path names another path",
    )


def glance(body: bytes) -> Usage | None:
    """Return the token counts of a large body that is plainly a whole answer; null where only parsing tells.

    Megabytes of vectors would hold up the event loop.
    """
    if len(body) < _LARGE_BYTES or not body.startswith(b"{"):
        return None
    head, tail = body[:_LOOK_BYTES], body[-_LOOK_BYTES:]
    if b'"embedding"' not in head or b'"error"' in head or b'"error"' in tail:
        return None
    usage = _USAGE_LAST.search(tail) or (_USAGE.search(head) if _DATA_LAST.search(tail) else None)
    if usage is None or b'"data"' not in head:
        return None
    try:
        return count_tokens({"usage": loads(usage[1])[0]})
    except ValueError:
        return None


def parse(body: bytes, cases: int, choices: int) -> Parsed:
    """Read the vectors of an answer: exactly `choices` outputs for each case, index i for case i // choices.

    An input without a vector of its own, or with two of them, fails alone. Raises ValueError when the body is no JSON
    object with data.
    """
    total = cases * choices
    table = read_table(body, total) if len(body) >= _LARGE_BYTES else None
    if table is not None and not without_infinities(table.vectors)[1].any():
        return replace(parsed_from(table.value, _sound(cases, choices), []), vectors=table.vectors)
    found = _read_cut(body)
    value, note = loads(body) if found is None else (found[0], None)
    if find_problem(value) is not None:
        raise ValueError("the answer has no embeddings")
    notes = [note] if note else []
    places = _places(value["data"], total, notes)
    vectors = None if found is None else _whole(places, value["data"], found[1])
    if vectors is not None:
        return replace(parsed_from(value, _sound(cases, choices), notes), vectors=vectors)
    each = [_output(entry, place % choices) for place, entry in enumerate(places)]
    return parsed_from(value, tuple(zip(*[iter(each)] * choices, strict=True)), notes)


def _sound(cases: int, choices: int) -> tuple[tuple[Output, ...], ...]:
    """Return the outputs of an answer whose vectors are all in order, and stand beside them."""
    return (tuple(Output(choice, "ok") for choice in range(choices)),) * cases


def _places(entries: list[Any], total: int, notes: list[str]) -> Sequence[dict[str, Any] | None]:
    """Return the entry of each input, null where it has none or more than one."""
    if set(map(type, entries)) == {dict}:
        indexes = [entry.get("index") for entry in entries]
        if indexes == list(range(total)) and set(map(type, indexes)) == {int}:
            return entries  # what nearly every answer is
        if len(entries) == total == 1 and indexes == [None]:
            return entries
    return entries_by_index(
        entries, [entry.get("index") if isinstance(entry, dict) else None for entry in entries], total, notes
    )


def entries_by_index(entries: Sequence[Any], indexes: Sequence[Any], total: int, notes: list[str]) -> list[Any]:
    """Return the entry of each of `total` inputs, null where it has none or more than one; `notes` gets the others."""
    stated = [(index, entry) for index, entry in zip(indexes, entries, strict=True) if type(index) is int]
    counts = Counter(index for index, _ in stated)
    placed = {index: entry for index, entry in stated if counts[index] == 1}
    usable = sum(0 <= index < total for index in placed)
    if usable < len(entries):
        notes.append(
            f"{len(entries)} embeddings for {total} inputs: {len(entries) - usable} have no index of their own"
        )
    return [placed.get(place) for place in range(total)]


def _read_cut(body: bytes) -> tuple[Any, Vector] | None:
    """Return an answer as JSON without its base64 texts, and their vectors; null where all of it has to be parsed.

    In JSON a quote inside a text is escaped, so that the key with its quotes can be nothing else. What is left is
    parsed as JSON all the same, with a mark for each text: as many marks as entries means one in each, in that order.
    """
    # Of a few vectors the detour costs more than it saves.
    mark = _EMBEDDING.search(body, 0, _LARGE_BYTES) if len(body) >= _LARGE_BYTES else None
    if mark is None:
        return None
    rest, texts, last, start = [], [], 0, mark.start()
    while start >= 0:
        begin = start + len(mark[0])
        end = body.find(b'"', begin)
        rest.append(body[last:begin])
        texts.append(body[begin:end])
        if end < 0:
            return None
        last, start = end, body.find(mark[0], end)
    rest.append(body[last:])
    matrix = decode_all(texts)
    if matrix is None or b'"' + _CUT in b"".join(rest):
        return None
    try:
        value, note = loads(_CUT.join(rest))
    except ValueError:
        return None
    marks = [entry.get("embedding") for entry in value["data"]] if note is None and _has_objects(value) else []
    if marks != [_CUT.decode()] * len(matrix):
        return None
    for entry, vector in zip(value["data"], matrix, strict=True):
        entry["embedding"] = vector
    return value, matrix


def _has_objects(value: Any) -> bool:
    return find_problem(value) is None and set(map(type, value["data"])) == {dict}


def _whole(places: Sequence[dict[str, Any] | None], entries: list[Any], matrix: Vector) -> Vector | None:
    """Return all vectors in the order of the inputs; null where one of them has to be looked at by itself."""
    if places is not entries:
        if None in places:
            return None
        matrix = np.stack([entry["embedding"] for entry in places if entry])
    return None if without_infinities(matrix)[1].any() else matrix


def _output(entry: dict[str, Any] | None, choice: int) -> Output:
    return missing_choice(choice) if entry is None else output_of(entry.get("embedding"), choice)


def output_of(found: Any, choice: int) -> Output:
    """Return the output of what stands where an answer should have a vector: base64, a list of numbers, or neither."""
    try:
        vector = vector_in(found)
    except VectorError as error:
        return Output(choice, "failed", error_kind=kind_of(ParseError), error_message=f"{error}; its bytes are in raw/")
    (finite,), (odd,) = without_infinities(vector.reshape(1, -1))
    return Output(
        choice, "ok", embedding=finite, note=f"embedding: {odd} values are not finite, and null" if odd else None
    )
