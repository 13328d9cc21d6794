"""Owns embeddings: a request for them read, the vectors of its inputs, and answers that are odd in ways of their own.

A vector depends on the input and on how long it is to be, and on nothing else: alone or among others, in whatever
encoding, it is the same. Shapes: OpenAI API reference, "Create embeddings" and "The embedding object".
"""

from __future__ import annotations

import base64
import math
import struct
from array import array
from dataclasses import dataclass, replace
from hashlib import shake_256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from runner.simulate.prompts import InvalidRequestError, count_tokens, read_chat
from runner.simulate.replies import ErrorBody

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.simulate.prompts import ChatRequest
    from runner.simulate.variants import Answer

_MOST_INPUTS = 2048
_MOST_DIMENSIONS = 8192
_MARK = "[[fault:"

Base64: TypeAlias = Literal["serve", "ignore", "refuse"]


@dataclass(frozen=True, slots=True)
class VectorStyle:
    """How vectors are served: how long they are unless a request says so, and what becomes of a wish for base64.

    More than `most_inputs` in one request, or more than `most_bytes` of them, are refused with 413.
    """

    dimensions: int = 32
    base64: Base64 = "serve"
    most_inputs: int | None = None
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class VectorRequest:
    """A valid request for embeddings: `chat` is what the limits see, `inputs` texts or lists of token ids."""

    chat: ChatRequest
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None
    as_base64: bool


def read_vectors(body: Mapping[str, Any], digest: str) -> VectorRequest:
    """Check a request for embeddings as OpenAI's server does. Raises InvalidRequestError."""
    inputs = _inputs(body.get("input"))
    encoding, dimensions = body.get("encoding_format", "float"), body.get("dimensions")
    if encoding not in ("float", "base64"):
        raise _invalid("encoding_format", f"Invalid value: {encoding!r}. Supported values are: 'float' and 'base64'.")
    if dimensions is not None and (type(dimensions) is not int or not 1 <= dimensions <= _MOST_DIMENSIONS):
        raise _invalid("dimensions", f"Invalid 'dimensions': expected an integer from 1 to {_MOST_DIMENSIONS}.")
    chat = read_chat({"model": body.get("model"), "messages": [{"role": "user", "content": ""}]}, digest)
    tokens = sum(count_tokens(one) if isinstance(one, str) else len(one) for one in inputs)
    return VectorRequest(replace(chat, prompt_tokens=tokens, max_tokens=1), inputs, dimensions, encoding == "base64")


def vector_of(content: str | tuple[int, ...], dimensions: int) -> list[float]:
    """Return the vector of an input, of length 1; each number is one that float32 holds."""
    text = content if isinstance(content, str) else "".join(f"<{token}>" for token in content)
    digits = array("h", shake_256(text.encode("utf-8", "replace")).digest(2 * dimensions))
    length = math.sqrt(sum((digit + 0.5) ** 2 for digit in digits))
    return array("f", [(digit + 0.5) / length for digit in digits]).tolist()


def build_vectors(asked: VectorRequest, style: VectorStyle, answer: Answer) -> Answer:
    """Return the answer with a vector for each input; id and times are those of `answer`, in the shape of chat."""
    size = asked.dimensions or style.dimensions
    as_base64 = asked.as_base64 and style.base64 == "serve"
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector_of(one, size), as_base64=as_base64)}
            for index, one in enumerate(asked.inputs)
        ],
        "model": answer["model"],
    }
    tokens = asked.chat.prompt_tokens
    return {**body, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if "usage" in answer else body


def dress_vectors(asked: VectorRequest, style: VectorStyle, fault: str | None, answer: Answer) -> Answer:
    """Return the answer as `build_vectors` does, with what a fault of vectors makes of it.

    The fault strikes the input with a marker in it, else the middle one.
    """
    body = build_vectors(asked, style, answer)
    if fault is not None and fault in VECTOR_FAULTS:
        marked = (place for place, one in enumerate(asked.inputs) if isinstance(one, str) and _MARK in one)
        VECTOR_FAULTS[fault](body["data"], next(marked, len(asked.inputs) // 2))
    return body


def _encoded(vector: list[float], *, as_base64: bool) -> str | list[float]:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if as_base64 else vector


def _inputs(given: Any) -> tuple[str | tuple[int, ...], ...]:
    if given is None:
        raise _invalid("input", "Missing required parameter: 'input'.", "missing_required_parameter")
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or not given:
        raise _invalid("input", "'input' is invalid: expected a string or an array that is not empty.")
    if all(type(one) is int for one in given):
        given = [given]
    if len(given) > _MOST_INPUTS:
        raise _invalid("input", f"'input' is invalid: at most {_MOST_INPUTS} inputs.", "array_above_max_length")
    if all(isinstance(one, str) and one for one in given):
        return tuple(given)
    if all(isinstance(one, list) and one and all(type(token) is int for token in one) for one in given):
        return tuple(tuple(one) for one in given)
    raise _invalid("input", "'$.input' is invalid. Please check the API reference.")


def _invalid(param: str, message: str, code: str = "invalid_value") -> InvalidRequestError:
    return InvalidRequestError(ErrorBody(message, param=param, code=code))


# ---------------------------------------------------------------- odd answers


def _shuffled(data: list[dict[str, Any]], _place: int) -> None:
    """Send the vectors in another order, each with its index."""
    data.reverse()


def _missing_index(data: list[dict[str, Any]], place: int) -> None:
    """Leave one vector out."""
    del data[place]


def _no_index(data: list[dict[str, Any]], place: int) -> None:
    """Leave out whose vector it is."""
    del data[place]["index"]


def _duplicate_index(data: list[dict[str, Any]], place: int) -> None:
    """Give one vector the index of the one before."""
    data[place]["index"] = data[place - 1]["index"]


def _index_beyond(data: list[dict[str, Any]], place: int) -> None:
    """Give one vector an index that no input has."""
    data[place]["index"] = len(data)


def _wrong_length(data: list[dict[str, Any]], place: int) -> None:
    """Make one vector longer by a number."""
    _change(data[place], lambda vector: [*vector, 0.0])


def _empty_vector(data: list[dict[str, Any]], place: int) -> None:
    """Send one vector without numbers."""
    _change(data[place], lambda vector: vector[:0])


def _nan_vector(data: list[dict[str, Any]], place: int) -> None:
    """Write NaN and infinity into one vector; a list has null there."""
    if isinstance(data[place]["embedding"], list):
        data[place]["embedding"][:2] = [None, None]
        return
    _change(data[place], lambda vector: [math.nan, math.inf, *vector[2:]])


def _broken_base64(data: list[dict[str, Any]], place: int) -> None:
    """Write into one vector what is no base64."""
    data[place]["embedding"] = "?" + str(data[place]["embedding"])[1:]


VECTOR_FAULTS: Mapping[str, Callable[[list[dict[str, Any]], int], None]] = MappingProxyType(
    {
        "shuffled": _shuffled,
        "missing_index": _missing_index,
        "no_index": _no_index,
        "duplicate_index": _duplicate_index,
        "index_beyond": _index_beyond,
        "wrong_length": _wrong_length,
        "empty_vector": _empty_vector,
        "nan_vector": _nan_vector,
        "broken_base64": _broken_base64,
    }
)


def _change(entry: dict[str, Any], change: Callable[[list[float]], list[float]]) -> None:
    found = entry["embedding"]
    if isinstance(found, str):
        data = base64.b64decode(found)
        entry["embedding"] = _encoded(change(list(struct.unpack(f"<{len(data) // 4}f", data))), as_base64=True)
    else:
        entry["embedding"] = change(found)
