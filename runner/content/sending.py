"""Owns how a file is added as an adapter describes it: as a form, streamed from the disk, or in a JSON body."""

from __future__ import annotations

import base64
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from runner.content.calls import usable_id
from runner.content.described import compile_request, compile_texts
from runner.content.local import FileError
from runner.endpoints.found import find_in, itself
from runner.transport import Upload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runner.content.api import Source
    from runner.content.described import Context
    from runner.records import Response
    from runner.transport import Transport

# What goes into a JSON body is held in memory, several times over.
_MOST_IN_BODY = 16 << 20


class Adding:
    """A compiled `documents.add`. `item` finds the new document in an answer; `reads` are the names it looks up."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        where = ("documents", "add")
        self._request = compile_request(spec, where)
        self._file: str | None = spec["file"]
        self._own = compile_texts({name: spec[name] for name in ("id", "file_name") if spec[name] is not None}, where)
        self._fields = compile_texts(spec["fields"], (*where, "fields"))
        self.item = find_in(spec, "item", itself)
        self.reads = self._request.reads | self._own.reads | self._fields.reads

    def given_id(self, context: Context) -> str | None:
        """Return the id that the request itself gives the document; null where it gives none. Raises TemplateError."""
        return usable_id(self._own.fill(context).get("id"))

    async def prepare(self, context: Context, source: Source) -> Callable[[Transport], Awaitable[Response]]:
        """Return what sends a file once. Raises TemplateError, and FileError for a file that cannot be sent."""
        method, path = self._request.method, self._request.path(context)
        if self._file is None:
            body = self._request.body({**context, **await self._content(source)})
            return lambda transport: transport.send(method, path, body)
        label = source.label
        name = self._own.fill(context).get("file_name") or PurePosixPath(label.name).name
        upload = Upload(self._fields.fill(context), name, label.size_bytes, source.blocks, self._file)
        return lambda transport: transport.upload(path, upload, method)

    async def _content(self, source: Source) -> dict[str, str]:
        name = source.label.name
        if source.label.size_bytes > _MOST_IN_BODY:
            raise FileError(f"{name}: larger than {_MOST_IN_BODY >> 20} MiB, the most that goes into a JSON body")
        content = b"".join([block async for block in source.blocks()])
        made = {}
        if "text" in self.reads:
            try:
                made["text"] = content.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise FileError(f"{name}: is no text in UTF-8") from error
        if "base64" in self.reads:
            made["base64"] = base64.b64encode(content).decode()
        return made
