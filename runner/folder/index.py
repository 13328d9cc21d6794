"""Owns the index beside each part of `responses`: which cases it holds, so that resume needs no Parquet.

A NumPy file (format 1.0, no pickle) with one record a case, sorted by row digest. A case whose choices came by several
requests has a record for each choice: `of` counts them all (0: the record is the whole case), `choice` is its number.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from runner.durable import FILE_MODE, cannot_create, storage_error, sync_file
from runner.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ENTRY = np.dtype(
    [
        ("row_high", ">u8"),
        ("row_low", ">u8"),
        ("key_high", ">u8"),
        ("key_low", ">u8"),
        ("carry", "<u4"),
        ("repeat", "<i4"),
        ("resend", "?"),
        ("choice", "<u4"),
        ("of", "<u4"),
    ]
)
# An index that was written before choices could have entries of their own.
_WITHOUT_CHOICES = np.dtype(ENTRY.descr[:-2])

_HINT = "`evalrunner reseal RUN_DIR` writes it again"


def pack_entries(
    row_digests: str,
    keys: str,
    carries: Sequence[int],
    repeats: Sequence[int],
    resend: Sequence[int],
) -> bytes:
    """Return cases in a part as their bytes in the index; digests and keys are hex texts, joined.

    `resend` marks failures that a later session sends again: those of a passing kind, but for poison rows.
    """
    digests, ids = (np.frombuffer(bytes.fromhex(texts), dtype=">u8") for texts in (row_digests, keys))
    entries = np.empty(len(ids) // 2, dtype=ENTRY)
    entries["row_high"], entries["row_low"] = digests[::2], digests[1::2]
    entries["key_high"], entries["key_low"] = ids[::2], ids[1::2]
    entries["carry"], entries["repeat"], entries["resend"] = carries, repeats, resend
    entries["choice"] = entries["of"] = 0
    return entries.tobytes()


def spread_choices(packed: bytes, parts: Mapping[int, tuple[int, int, int]]) -> bytes:
    """Give some packed entries one record a choice; `parts` says by position how many, from which on, of how many."""
    entries = np.frombuffer(packed, dtype=ENTRY)
    counts = np.ones(len(entries), dtype=np.int64)
    for position, (choices, _, _) in parts.items():
        counts[position] = choices
    spread = np.repeat(entries, counts)
    starts = np.cumsum(counts) - counts
    for position, (choices, first, of) in parts.items():
        own = slice(starts[position], starts[position] + choices)
        spread["choice"][own], spread["of"][own] = np.arange(first, first + choices), of
    return spread.tobytes()


def index_array(packed: bytes) -> NDArray[np.void]:
    """Return packed entries as a structured array sorted by row digest and repeat."""
    array = np.frombuffer(packed, dtype=ENTRY)
    return array[np.lexsort((array["repeat"], array["row_low"], array["row_high"]))]


def key_of(entry: np.void) -> bytes:
    """Return the 16-byte key of one entry."""
    return int(entry["key_high"]).to_bytes(8, "big") + int(entry["key_low"]).to_bytes(8, "big")


def place_of(entry: np.void) -> tuple[bytes, int]:
    """Return what is unique in a run: the key with the number of the choice, 0 where the entry is the whole case."""
    return key_of(entry), int(entry["choice"])


def write_index(path: Path, entries: NDArray[np.void]) -> None:
    """Write and fsync an index file. Raises CannotCreateError, StorageError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    except OSError as error:
        raise cannot_create(error, path) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.save(file, entries.astype(ENTRY, copy=False), allow_pickle=False)
    except OSError as error:
        raise storage_error(error, "write to", path) from error
    sync_file(path)


def read_index(path: Path) -> NDArray[np.void]:
    """Read an index file. Raises DamagedError when it is missing or is none."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DamagedError(f"{path}: the index cannot be read ({error})", hint=_HINT) from error
    if array.dtype == _WITHOUT_CHOICES and array.ndim == 1:
        known = np.zeros(len(array), dtype=ENTRY)
        for name in _WITHOUT_CHOICES.names or ():
            known[name] = array[name]
        array = known
    if array.dtype != ENTRY or array.ndim != 1:
        raise DamagedError(f"{path}: the file is not an index", hint=_HINT)
    result: NDArray[np.void] = array
    return result
