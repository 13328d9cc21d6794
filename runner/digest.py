"""Owns how values become bytes and bytes become digests: identity anywhere in a run comes from here."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import orjson

_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def canonical_json(value: Any) -> bytes:
    """Return JSON with sorted keys and no white space: equal values give equal bytes."""
    return orjson.dumps(value, option=_CANONICAL)


def json_bytes(value: Any) -> bytes:
    """Return compact JSON, also for what orjson refuses: integers beyond 64 bit. Raises TypeError for no JSON value."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def digest128(data: bytes) -> bytes:
    """Return the 16-byte BLAKE2b digest of `data`."""
    return blake2b(data, digest_size=16).digest()


def digest_of(value: Any) -> bytes:
    """Return the 16-byte digest of a JSON value's canonical form."""
    return digest128(canonical_json(value))
