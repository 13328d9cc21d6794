"""Owns what an adapter file has to obey beyond types: expressions, error kinds, names, and no key anywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runner.config.adapter_content_rules import documents_findings
from runner.config.adapter_models import AdapterResponse
from runner.config.adapter_requests import (
    AUTH_HINT,
    expression_findings,
    path_findings,
    query_findings,
    spelling,
    tree_findings,
)
from runner.config.credentials import holds_key, names_credential, shown_key, shown_text
from runner.config.places import Finding, value_at
from runner.config.rules import HEADER_NAME, USE_VARIABLE, breaks_header, texts_in
from runner.endpoints.adapter import CONTENT, CONTEXT, TARGET_CONTEXT
from runner.endpoints.mapped_errors import ANSWERED
from runner.endpoints.tree import compile_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config.places import KeyPath

_NO_EXPRESSIONS = frozenset({"status"})
_SECTIONS = ("logprobs", "usage", "retrieved", "embeddings")
_OF_ERRORS = ("code", "message", "in_body")
_ERROR_STATUS = re.compile(r"[45][0-9][0-9]")
_ONLY_INPUT = re.compile(r"\s*\{\{\s*input\s*\}\}\s*")


def adapter_findings(values: dict[str, Any]) -> list[Finding]:
    """Return what breaks a rule, at most one finding for a key."""
    by_path: dict[KeyPath, Finding] = {}
    for rule in _RULES:
        for finding in rule(values):
            by_path.setdefault(finding.path, finding)
    return list(by_path.values())


def _expressions(values: Any) -> Iterator[Finding]:
    response = value_at(values, ("response",))
    paths: list[KeyPath] = [("errors", name) for name in _OF_ERRORS]
    for name in response if isinstance(response, dict) else ():
        if name in _SECTIONS and isinstance(response[name], dict):
            paths += [("response", name, inner) for inner in response[name]]
        elif name not in _NO_EXPRESSIONS and name in AdapterResponse.model_fields:
            paths.append(("response", name))
    for path in paths:
        yield from expression_findings(value_at(values, path), path)


def _body(values: Any) -> Iterator[Finding]:
    body = value_at(values, ("body",))
    if isinstance(body, dict):
        yield from tree_findings(body, ("body",), CONTEXT)


def _array(values: Any) -> Iterator[Finding]:
    """Find what keeps a body from being sent with one input or several, whatever else stands in it."""
    where, body = ("capabilities", "array_input"), value_at(values, ("body",))
    endpoints = value_at(values, ("endpoints",))
    if value_at(values, where) is not True:
        if value_at(values, ("capabilities", "most_inputs")) is not None:
            yield Finding(("capabilities", "most_inputs"), "has no meaning without array_input: true")
        return
    if isinstance(endpoints, list) and "embeddings" not in endpoints:
        yield Finding(where, "is for adapters whose endpoints hold embeddings")
        return
    paths = [path for path, name, _ in compile_tree(body, ("body",)).reads if name == "input"]
    if isinstance(body, dict) and not paths:
        yield Finding(("body",), "has no place for the inputs", 'e.g. texts: "{{ input }}"')
    for path in paths[1:]:
        yield Finding(path, "reads input a second time", "with capabilities.array_input one place has the inputs")
    for path in paths[:1]:
        if path[-1] in ("$merge", "$if") or not _ONLY_INPUT.fullmatch(value_at(values, path)):
            hint = 'write "{{ input }}" and nothing else: with capabilities.array_input it is always a list'
            yield Finding(path, "does more with input than to hold it", hint)
        elif any("$if" in value_at(values, path[:end]) for end in range(1, len(path))):
            yield Finding(path, "stands below an $if", "with capabilities.array_input the inputs are always sent")


def _target(values: Any) -> Iterator[Finding]:
    yield from path_findings(value_at(values, ("path",)), ("path",), TARGET_CONTEXT)
    yield from query_findings(value_at(values, ("query",)), ("query",), TARGET_CONTEXT)


def _headers(values: Any) -> Iterator[Finding]:
    headers = value_at(values, ("headers",))
    for name, value in headers.items() if isinstance(headers, dict) else ():
        if names_credential(name):
            yield Finding(("headers", name), "a header of this name carries a credential", AUTH_HINT)
        if not HEADER_NAME.fullmatch(name):
            yield Finding(("headers", name), "is not the name of an HTTP header")
        if isinstance(value, str) and breaks_header(value):
            yield Finding(("headers", name), "a line break or control character cannot stand in a header")


def _auth(values: Any) -> Iterator[Finding]:
    auth = value_at(values, ("auth",))
    if not isinstance(auth, dict):
        return
    kind, name = auth.get("type", "bearer"), auth.get("name")
    if kind in {"header", "query"} and not name:
        yield Finding(("auth",), 'missing key "name"', f"the {kind} that carries the key, e.g. name: x-api-key")
    if isinstance(name, str) and name and kind == "header" and not HEADER_NAME.fullmatch(name):
        yield Finding(("auth", "name"), "is not the name of an HTTP header")
    allowed = {"header": {"name", "prefix"}, "query": {"name"}, "basic": {"user"}}
    for key in ("name", "prefix", "user"):
        if auth.get(key) and isinstance(kind, str) and key not in allowed.get(kind, set()):
            yield Finding(("auth", key), f"has no meaning with type {shown_key(kind)}")
    for key in ("prefix", "user"):
        text = auth.get(key)
        if isinstance(text, str) and (breaks_header(text) or not text.isascii() or (key == "user" and ":" in text)):
            yield Finding(("auth", key), "has characters that no header can hold here")


def _kinds(values: Any) -> Iterator[Finding]:
    for table in ("by_status", "by_code"):
        entries = value_at(values, ("errors", table))
        for key, kind in entries.items() if isinstance(entries, dict) else ():
            path = ("errors", table, key)
            if table == "by_status" and not _ERROR_STATUS.fullmatch(key):
                yield Finding(path, "expected an HTTP status from 400 to 599", "a 2xx is judged by in_body")
            elif isinstance(kind, str) and kind not in ANSWERED:
                yield Finding(path, f"there is no error kind {shown_text(kind)}", spelling(kind, ANSWERED, "exist"))
    if value_at(values, ("errors", "by_code")) and value_at(values, ("errors", "code")) is None:
        yield Finding(("errors", "by_code"), "stands without `code`, which finds the code", "e.g. code: error.type")


def _needed(values: Any) -> Iterator[Finding]:
    response, endpoints = value_at(values, ("response",)), value_at(values, ("endpoints",))
    if not isinstance(response, dict) or not isinstance(endpoints, list):
        return
    if {"chat", "completions"} & {one for one in endpoints if isinstance(one, str)} and response.get("text") is None:
        yield Finding(("response",), 'missing key "text"', "where the answer's text stands, e.g. text: output.text")
    if "embeddings" in endpoints and response.get("embeddings") is None:
        yield Finding(("response",), 'missing key "embeddings"', "e.g. embeddings: {list: data, vector: embedding}")
    logprobs = response.get("logprobs")
    if isinstance(logprobs, dict):
        if logprobs.get("entries") is None and logprobs.get("tokens") is None:
            yield Finding(("response", "logprobs"), 'missing key "entries"', "or tokens and token_logprobs, lists")
        elif logprobs.get("entries") is not None and logprobs.get("token") is None:
            yield Finding(("response", "logprobs"), 'missing key "token"', "where an entry has its text")


def _stream(values: Any) -> Iterator[Finding]:
    where, method = ("capabilities", "stream"), value_at(values, ("method",))
    if value_at(values, where) != "openai":
        return
    if value_at(values, ("endpoints",)) == ["embeddings"]:
        yield Finding(where, "is for adapters whose endpoints hold chat or completions")
    elif method is not None and method != "POST":
        yield Finding(where, "has no meaning with this method", "streams are asked for by POST")


def _params(values: Any) -> Iterator[Finding]:
    for table in ("rename", "defaults"):
        given = value_at(values, ("params", table))
        for name in given if isinstance(given, dict) else ():
            if name in CONTENT.values() or name in {"model", "stream"}:
                yield Finding(("params", table, name), "is no param: the body says where it goes")


def _credentials(values: Any) -> Iterator[Finding]:
    for path, text in texts_in(values, ()):
        if holds_key(text):
            yield Finding(path, "looks like a key", USE_VARIABLE)


_RULES = (
    _credentials,
    _expressions,
    _body,
    _array,
    _target,
    _headers,
    _auth,
    _kinds,
    _needed,
    _params,
    _stream,
    documents_findings,
)
