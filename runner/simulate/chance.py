"""Owns seeded chance: number N of a label is the same in every run, in whatever order it is asked for."""

from __future__ import annotations

from hashlib import blake2b

_BITS = 53


def uniform(label: str, seed: int, number: int) -> float:
    """Return a uniform number in [0, 1) that depends on nothing but the arguments."""
    key = f"{label}:{seed}:{number}".encode()
    return (int.from_bytes(blake2b(key, digest_size=8).digest()) >> (64 - _BITS)) / (1 << _BITS)
