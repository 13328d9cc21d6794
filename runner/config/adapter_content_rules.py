"""Owns what an adapter's `documents` has to obey beyond types: what each request may read, pages, and known content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.config.adapter_requests import (
    expression_findings,
    path_findings,
    query_findings,
    text_findings,
    tree_findings,
)
from runner.config.places import Finding, value_at
from runner.endpoints.tree import compile_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config.places import KeyPath

_PAGES = ("cursor", "page", "offset")
_CONTENT = ("text", "base64")
_LABEL = ("name", "sha256", "size_bytes")
# What the expressions of each request can read.
_NAMES: dict[KeyPath, tuple[str, ...]] = {
    ("documents", "list"): ("model", "knowledge_base", *_PAGES),
    ("documents", "get"): ("model", "knowledge_base", "id"),
    ("documents", "add"): ("model", "knowledge_base", *_LABEL),
    ("documents", "delete"): ("model", "knowledge_base", "id", "name"),
    ("documents", "index"): ("model", "knowledge_base"),
    ("documents", "knowledge_bases", "list"): ("model", *_PAGES),
    ("documents", "knowledge_bases", "create"): ("model", "name"),
}
_LISTS = (("documents", "list"), ("documents", "knowledge_bases", "list"))
_OF_ITEMS = {
    ("documents", "document"): ("id", "name", "sha256", "size_bytes", "created_at", "status", "error"),
    ("documents", "knowledge_bases"): ("id", "name", "documents", "size_bytes"),
}


def documents_findings(values: Any) -> Iterator[Finding]:
    """Find what is wrong with `documents`, in plain values of any shape."""
    for path, names in _NAMES.items():
        request = value_at(values, path)
        if isinstance(request, dict):
            yield from _request(request, path, names)
    for path, keys in _OF_ITEMS.items():
        for key in keys:
            yield from expression_findings(value_at(values, (*path, key)), (*path, key))
    for path in _LISTS:
        yield from _pages(value_at(values, path), path)
    yield from _add(values)
    yield from _bases(values)


def _request(request: dict[str, Any], path: KeyPath, names: tuple[str, ...]) -> Iterator[Finding]:
    yield from path_findings(request.get("path"), (*path, "path"), names)
    yield from query_findings(request.get("query"), (*path, "query"), names)
    yield from query_findings(request.get("fields"), (*path, "fields"), names)
    for key in ("id", "file_name"):
        yield from text_findings(request.get(key), (*path, key), names)
    in_body = (*names, *_CONTENT) if path[-1] == "add" else names
    yield from tree_findings(request.get("body"), (*path, "body"), in_body)
    usual = "GET" if path[-1] in ("list", "get") else None
    if request.get("method", usual) == "GET" and not isinstance(request.get("body"), dict | None):
        yield Finding((*path, "body"), "with GET it becomes query parameters: expected a mapping")
    for key in ("items", "item", "next"):
        yield from expression_findings(request.get(key), (*path, key))


def _pages(request: Any, path: KeyPath) -> Iterator[Finding]:
    if not isinstance(request, dict):
        return
    reads = _reads(request)
    if "cursor" in reads and request.get("next") is None:
        yield Finding(path, 'missing key "next"', "where an answer says what the next page's cursor is")
    if request.get("next") is not None and not reads.intersection(_PAGES):
        yield Finding((*path, "next"), "no request asks for another page", 'e.g. query: {after: "{{ cursor }}"}')


def _add(values: Any) -> Iterator[Finding]:
    path: KeyPath = ("documents", "add")
    add = value_at(values, path)
    if not isinstance(add, dict):
        return
    if add.get("file") is None:
        for key in ("fields", "file_name"):
            if add.get(key):
                yield Finding((*path, key), "has no meaning without file", "file: NAME is the form's field of the file")
        if not _reads(add).intersection(_CONTENT):
            yield Finding(path, "sends no content", "file: NAME makes it a form; or {{ text }} or {{ base64 }} in body")
    elif add.get("body") is not None:
        yield Finding((*path, "body"), "stands beside file", "a form's other values go under fields")
    document = value_at(values, ("documents", "document"))
    if isinstance(document, dict) and document.get("sha256") is None:
        hint = "where the server keeps the {{ sha256 }} that add sends: metadata, the id, or the name"
        yield Finding(("documents", "document"), 'missing key "sha256", by which content is known again', hint)


def _bases(values: Any) -> Iterator[Finding]:
    path: KeyPath = ("documents", "knowledge_bases")
    bases = value_at(values, path)
    if not isinstance(bases, dict):
        return
    if bases.get("create") is not None and bases.get("list") is None:
        yield Finding((*path, "create"), "stands without list, which says what is there already")
    requests = [value_at(values, one) for one in _NAMES if one[1] != "knowledge_bases"]
    if not any("knowledge_base" in _reads(one) for one in requests if isinstance(one, dict)):
        yield Finding(path, "no request reads knowledge_base", "e.g. path: /bases/{{ knowledge_base }}/documents")


def _reads(request: dict[str, Any]) -> set[str]:
    """Return the names that the expressions of a request look up."""
    keys = ("path", "query", "fields", "body", "id", "file_name")
    return {name for _, name, _ in compile_tree([request.get(key) for key in keys]).reads}
