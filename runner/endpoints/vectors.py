"""Owns how an embedding becomes a vector: base64 of little-endian float32 by the block, or a list of JSON numbers.

Base64 never becomes Python numbers. Of a whole answer it is decoded in one go, two characters at a time by a table:
measured, that takes 40 % of the time that the standard library takes for each text.
"""

from __future__ import annotations

import binascii
import functools
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_INVALID: Final = 0x8000
_TWELVE_BITS: Final = 0x1000
_FLOAT32: Final = np.dtype("<f4")
_QUANTUM, _QUANTUM_BYTES = 4, 3
# So many characters are decoded at a time, that what is worked on stays in the processor's cache.
_CHUNK_CHARACTERS: Final = 1 << 17


class VectorError(ValueError):
    """An embedding that is no vector; the message says why."""


def decode_all(texts: Sequence[bytes]) -> NDArray[np.float32] | None:
    """Return the vectors of base64 texts as a matrix; null where they differ in length or one of them is no vector."""
    length = len(texts[0]) if texts else 0
    padding = length - len(texts[0].rstrip(b"=")) if texts else 0
    vector_bytes = length // _QUANTUM * _QUANTUM_BYTES - padding
    if length % _QUANTUM or vector_bytes <= 0 or vector_bytes % _FLOAT32.itemsize or padding >= _QUANTUM_BYTES:
        return None
    tail = texts[0][length - padding :]
    if not all(len(text) == length and text.endswith(tail) for text in texts):
        return None
    # With zeros in place of the padding the table can tell all else that is no base64.
    zeros = b"A" * padding
    joined = zeros.join([text[: length - padding] for text in texts]) + zeros if padding else b"".join(texts)
    decoded = np.empty((len(joined) // _QUANTUM, _QUANTUM_BYTES), np.uint8)
    for start in range(0, len(joined), _CHUNK_CHARACTERS):
        characters = joined[start : start + _CHUNK_CHARACTERS]
        if not _decode_into(decoded[start // _QUANTUM :], characters):
            return None
    rows = decoded.reshape(len(texts), -1)[:, :vector_bytes]
    matrix: NDArray[np.float32] = np.ascontiguousarray(rows).view(_FLOAT32).astype(np.float32, copy=False)
    return matrix


def decode(text: str) -> NDArray[np.float32]:
    """Return the vector of one base64 text. Raises VectorError."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise VectorError(f"the embedding is no base64 ({error})") from error
    if len(data) % _FLOAT32.itemsize:
        raise VectorError(f"the embedding is no vector of float32: {len(data)} bytes of base64")
    return np.frombuffer(data, _FLOAT32).astype(np.float32, copy=False)


def vector_of(values: list[Any]) -> NDArray[np.float32]:
    """Return the vector of a list of numbers; what is null or beyond float32 is NaN. Raises VectorError."""
    kinds = set(map(type, values))
    if not kinds <= {float, int, type(None)}:
        raise VectorError("the embedding is not a list of numbers")
    try:
        with np.errstate(over="ignore"):
            # Whole numbers go through float64, as JSON's numbers do everywhere.
            vector = np.array(values, dtype=np.float64).astype(np.float32)
    except (TypeError, OverflowError):
        return np.array([_number(value) for value in values], dtype=np.float32)
    return vector


def without_infinities(matrix: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return vectors with NaN for every value that is not finite, and how many those are in each."""
    finite = np.isfinite(matrix)
    if finite.all():
        return matrix, np.zeros(len(matrix), np.int64)
    return np.where(finite, matrix, np.float32(np.nan)), matrix.shape[1] - finite.sum(axis=1)


def _number(value: Any) -> float:
    try:
        with np.errstate(over="ignore"):
            return float(np.float32(value)) if value is not None else float("nan")
    except OverflowError:
        return float("nan")


def _decode_into(out: NDArray[np.uint8], characters: bytes) -> bool:
    """Decode base64 without padding; say whether all of it was base64."""
    # Each pair of characters is 12 bits; two pairs, read as one number, are what three bytes are cut from.
    pairs = _pair_table().take(np.frombuffer(characters, "<u2"))
    if pairs.max() >= _TWELVE_BITS:
        return False
    both = pairs.astype("<u2", copy=False).view("<u4")
    part = out[: len(both)]
    part[:, 0] = both >> 4
    middle = both << 4
    middle &= 0xF0
    middle |= both >> 24
    part[:, 1] = middle
    part[:, 2] = both >> 16
    return True


@functools.cache
def _pair_table() -> NDArray[np.uint16]:
    single = np.full(256, _INVALID, np.uint16)
    single[np.frombuffer(_ALPHABET, np.uint8)] = np.arange(len(_ALPHABET))
    pairs = np.arange(1 << 16)
    first, second = single[pairs & 0xFF].astype(np.uint32), single[pairs >> 8].astype(np.uint32)
    return np.where((first | second) >= _INVALID, _INVALID, first << 6 | second).astype(np.uint16)
