"""Owns looking for a planted key: in every byte of a folder, and in every value of every Parquet file."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def shown_forms(key: str) -> dict[str, str]:
    """Return the forms in which a server may show a key again, by name."""
    return {
        "plain": key,
        "json": json.dumps(key)[1:-1].replace("/", "\\/"),
        "json_codes": "".join(f"\\u{ord(letter):04X}" if letter in "+/=" else letter for letter in key),
        "url": quote(key, safe=""),
        "url_small": "".join(f"%{ord(letter):02x}" if letter in "+/=" else letter for letter in key),
        "html": "".join(f"&#{ord(letter)};" if letter in "+/=" else letter for letter in key),
        "base64": base64.b64encode(key.encode()).decode(),
        "base64_header": base64.b64encode(f"Bearer {key}".encode()).decode(),
    }


def find_leaks(key: str, folder: Path, *texts: str) -> list[str]:
    """Return where a key, in any form, stands in a folder's files or in texts."""
    needles = [form.rstrip("=").encode() for form in shown_forms(key).values()]
    # The middle of the encoded header, whatever stands around it.
    needles.append(base64.b64encode(key.encode())[: len(key) - 4])
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found += [f"{path.relative_to(folder)}" for needle in needles if needle in path.read_bytes()]
            if path.suffix == ".parquet":
                found += _in_table(path, folder, needles)
    found += [f"text {number}" for number, text in enumerate(texts) for needle in needles if needle in text.encode()]
    return sorted(set(found))


def _in_table(path: Path, folder: Path, needles: list[bytes]) -> Iterator[str]:
    file = pq.ParquetFile(path)
    values = {"metadata": str(file.schema_arrow.metadata), **file.read().to_pydict()}
    for name, value in values.items():
        data = b"\n".join(_leaves(value))
        for needle in needles:
            if needle in data:
                yield f"{path.relative_to(folder)} column {name}"


def _leaves(value: Any) -> Iterator[bytes]:
    if isinstance(value, str):
        yield value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield str(value).encode()
