"""Owns files on the wire: a multipart form (RFC 7578) of which only its frame is ever held in memory."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from runner.transport.translate import Timeouts

# A line that is slower than this is taken for dead: it bounds how long a large file may take.
_SLOWEST_BYTES_PER_S = 64 * 1024
# What WHATWG's rules for forms replace in names; all else goes out as UTF-8.
_QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send: form fields, its name and size, and what opens it anew as blocks of exactly that size."""

    fields: Mapping[str, str]
    file_name: str
    size_bytes: int
    blocks: Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class Sending:
    """An upload as aiohttp takes it. Its length is stated, since not every server reads chunks."""

    body: AsyncIterator[bytes]
    headers: Mapping[str, str]
    timeout: aiohttp.ClientTimeout


def sending_of(upload: Upload, timeouts: Timeouts) -> Sending:
    """Return the body of an upload, which can be sent once."""
    boundary = f"evalrunner-{secrets.token_hex(16)}"
    head, tail = _frame(upload, boundary)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + upload.size_bytes + len(tail)),
    }
    total_s = timeouts.total + upload.size_bytes / _SLOWEST_BYTES_PER_S
    timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=timeouts.connect)
    return Sending(_framed(head, upload, tail), headers, timeout)


async def _framed(head: bytes, upload: Upload, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    async for block in upload.blocks():
        yield block
    yield tail


def _frame(upload: Upload, boundary: str) -> tuple[bytes, bytes]:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in upload.fields.items()
    ]
    name = upload.file_name.translate(_QUOTED)
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(parts).encode("utf-8", "replace"), f"\r\n--{boundary}--\r\n".encode()
