"""Owns files on the wire: a multipart form (RFC 7578) of which only its frame is ever held in memory."""

from __future__ import annotations

import secrets
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from runner.transport.translate import Timeouts

# A line that is slower than this is taken for dead: it bounds how long a large file may take.
_SLOWEST_BYTES_PER_S = 64 * 1024
# What WHATWG's rules for forms replace in names; all else goes out as UTF-8.
_QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send: form fields, its name and size, and what opens it anew as blocks of exactly that size.

    `file_field` is the form's field that carries it.
    """

    fields: Mapping[str, str]
    file_name: str
    size_bytes: int
    blocks: Callable[[], AsyncGenerator[bytes]]
    file_field: str = "file"


class Sending:
    """An upload as aiohttp takes it, once. Its length is stated, since not every server reads chunks.

    `problem` is what reading the file raised: aiohttp makes a broken connection of it.
    """

    def __init__(self, upload: Upload, timeouts: Timeouts) -> None:
        boundary = f"evalrunner-{secrets.token_hex(16)}"
        self._upload = upload
        self._head, self._tail = _frame(upload, boundary)
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + upload.size_bytes + len(self._tail)),
        }
        self.total_s = timeouts.total + upload.size_bytes / _SLOWEST_BYTES_PER_S
        self.problem: Exception | None = None

    async def body(self) -> AsyncGenerator[bytes]:
        """Yield the whole form; closing it closes the file."""
        yield self._head
        try:
            async with aclosing(self._upload.blocks()) as blocks:
                async for block in blocks:
                    yield block
        except Exception as problem:
            self.problem = problem
            raise
        yield self._tail


def _frame(upload: Upload, boundary: str) -> tuple[bytes, bytes]:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(_QUOTED)}"\r\n\r\n{value}\r\n'
        for name, value in upload.fields.items()
    ]
    field, name = upload.file_field.translate(_QUOTED), upload.file_name.translate(_QUOTED)
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(parts).encode("utf-8", "replace"), f"\r\n--{boundary}--\r\n".encode()
