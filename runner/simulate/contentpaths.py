"""Owns the paths of the content API: which request does what to the content, and what it is answered."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import BodyPartReader

from runner.simulate.replies import ErrorBody, body_too_large, error_reply, json_reply, not_json, wrong_method

if TYPE_CHECKING:
    from aiohttp import web

    from runner.simulate.contentstore import Content
    from runner.simulate.replies import Reply

_PATH = re.compile(r"/(?:files(?:/([^/]+))?|vector_stores(?:/([^/]+)(?:/(files)(?:/([^/]+))?)?)?)\Z")
_MOST_ATTRIBUTES = 16
_LONGEST_KEY, _LONGEST_VALUE = 64, 512


class _RefusedError(Exception):
    """The request is answered with an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def is_content_path(path: str) -> bool:
    """Say whether a path belongs to the content API."""
    return _PATH.match(path) is not None


async def answer_content(content: Content, request: web.BaseRequest, path: str) -> Reply:
    """Carry out one request. Raises ConnectionResetError where its fault is to break the connection."""
    try:
        if path == "/files" and request.method == "POST":
            return json_reply(200, await _upload(content, request))
        given = await request.read() if request.method == "POST" else b"{}"
        return json_reply(200, _carry_out(content, request, path, given))
    except _RefusedError as refused:
        return refused.reply


def _carry_out(content: Content, request: web.BaseRequest, path: str, given: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(given)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise _RefusedError(not_json())
    matched = _PATH.match(path)
    file, store, below, entry = matched.groups() if matched else (None,) * 4
    if path.startswith("/files"):
        return _file(content, request, file)
    if store is None:
        return _stores(content, request, body)
    if store not in content.stores:
        raise _missing("vector store", store)
    if entry is not None:
        return _entry(content, request, store, entry)
    return _entries(content, request, store, body) if below else content.stores[store].shown()


async def _upload(content: Content, request: web.BaseRequest) -> dict[str, Any]:
    content.uploads += 1
    fault = content.rules.upload_faults.get(content.uploads)
    if fault == "cut":
        await request.content.read(1)
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("as the rules say")
    form = await _form(request, content.rules.largest_file_bytes)
    if fault == "400":
        error = ErrorBody("Invalid file format.", param="file", code="invalid_file_format")
        raise _RefusedError(error_reply(400, error))
    name, data, purpose = (form.get(field, b"") for field in ("name", "data", "purpose"))
    if not (name and data and purpose):
        error = ErrorBody("A file and its purpose are required, and it may not be empty.")
        raise _RefusedError(error_reply(400, error))
    kept = None if fault in ("500", "hang") else content.add_file(name.decode(), purpose.decode(), data)
    if fault in ("hang", "hang_after"):
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await never
    if kept is None or fault is not None:
        raise _RefusedError(error_reply(500, ErrorBody("The server had an error.", type="server_error")))
    return kept.shown()


async def _form(request: web.BaseRequest, largest_bytes: int) -> dict[str, bytes]:
    """Return purpose, name and data of an upload; a refusal where the file is too large."""
    found: dict[str, bytes] = {}
    if not request.content_type.startswith("multipart/"):
        return found
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue
        data = bytearray()
        while block := await part.read_chunk():
            data += block
            if len(data) > largest_bytes:
                raise _RefusedError(body_too_large(largest_bytes))
        if part.name == "file":
            found |= {"name": (part.filename or "").encode("utf-8", "replace"), "data": bytes(data)}
        elif part.name == "purpose":
            found["purpose"] = bytes(data)
    return found


def _file(content: Content, request: web.BaseRequest, file: str | None) -> dict[str, Any]:
    if file is None:
        _expect(request, "GET")
        purpose = request.query.get("purpose")
        files = [one.shown() for one in content.files.values() if purpose in (None, one.purpose)]
        return content.page_of(files, request.query)
    if file not in content.files:
        raise _missing("File", file)
    if request.method == "DELETE":
        content.drop_file(file)
        return {"id": file, "object": "file", "deleted": True}
    return content.files[file].shown()


def _stores(content: Content, request: web.BaseRequest, body: dict[str, Any]) -> dict[str, Any]:
    if request.method == "GET":
        return content.page_of((store.shown() for store in content.stores.values()), request.query)
    _expect(request, "POST")
    return content.add_store(str(body.get("name") or "")).shown()


def _entries(content: Content, request: web.BaseRequest, name: str, body: dict[str, Any]) -> dict[str, Any]:
    store = content.stores[name]
    if request.method == "GET":
        return content.page_of([entry.shown(name) for entry in store.entries.values()], request.query)
    _expect(request, "POST")
    file, attributes = content.files.get(str(body.get("file_id"))), body.get("attributes") or {}
    if file is None:
        raise _missing("File", str(body.get("file_id")))
    problem = _problem(attributes)
    if problem is not None:
        raise _RefusedError(error_reply(400, ErrorBody(problem, param="attributes")))
    return content.attach(store, file, attributes).shown(name)


def _entry(content: Content, request: web.BaseRequest, store: str, file: str) -> dict[str, Any]:
    entry = content.stores[store].entries.get(file)
    if entry is None:
        raise _missing("file", file)
    if request.method == "DELETE":
        content.detach(content.stores[store], file)
        return {"id": file, "object": "vector_store.file.deleted", "deleted": True}
    entry.polls_left -= 1
    return entry.shown(store)


def _problem(attributes: Any) -> str | None:
    if not isinstance(attributes, dict) or len(attributes) > _MOST_ATTRIBUTES:
        return f"'attributes' is an object of at most {_MOST_ATTRIBUTES} keys."
    for key, value in attributes.items():
        long = isinstance(value, str) and len(value) > _LONGEST_VALUE
        if len(key) > _LONGEST_KEY or long or not isinstance(value, str | int | float):
            return f"'attributes.{key[:80]}' is too long or of a wrong type."
    return None


def _expect(request: web.BaseRequest, method: str) -> None:
    if request.method != method:
        raise _RefusedError(wrong_method(request.method, request.path))


def _missing(what: str, identity: str) -> _RefusedError:
    return _RefusedError(error_reply(404, ErrorBody(f"No {what} found with id '{identity}'.", param="id")))
