"""Owns writing files that are compressed by their name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    from pathlib import Path

_CODECS: Final = {".gz": "gzip", ".zst": "zstd"}
_BUFFER_BYTES = 1 << 18


def open_output(path: Path, *, named: Path) -> pa.NativeFile:
    """Open a file for writing, compressed as the name says that it will have."""
    return pa.output_stream(str(path), compression=_CODECS.get(named.suffix), buffer_size=_BUFFER_BYTES)
