"""Owns reading the body of an error answer, whatever server wrote it: text for people, codes and types for decisions.

Shapes met: OpenAI, Azure, vLLM and llama.cpp `{"error": {"message", "type", "param", "code"}}` with `code` a string,
an integer or null; the same members without the `error` around them (older vLLM); Anthropic `{"type": "error",
"error": {...}}`; Gemini, the OpenAI shape in a list of one; TGI and Ollama `{"error": "text"}`; FastAPI `{"detail":
"text"}` or a list of `{"loc", "msg"}`; HTML pages of proxies; plain text; nothing.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

from runner import jsontext

# An error of this size is a page or an echo; only its start is looked at, as text.
_MAX_JSON_BYTES = 1 << 20
_MAX_TEXT_BYTES = 4096
_MAX_DEPTH = 4
_MAX_ITEMS = 5
_TEXT_NAMES = ("message", "msg", "error", "detail", "error_description", "title")
_SIGNAL_NAMES = ("code", "type", "status", "error_type", "error_code", "reason")
# Only under these names: elsewhere servers echo the request, whose words must not decide anything.
_NESTED_NAMES = ("error", "errors", "detail", "details", "metadata")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(?:(?:script|style)\b.*?</(?:script|style)|[^>]*)>", re.IGNORECASE | re.DOTALL)
_HTTP_CODE = re.compile(r"[45][0-9][0-9]")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error answer says: `text` on one line without control characters, empty if it says nothing.

    `signals` are its codes and types in lower case; `code` is its numeric code if that is an HTTP error status;
    `param` names the request's member that it blames.
    """

    text: str = ""
    signals: frozenset[str] = frozenset()
    code: int | None = None
    param: str | None = None


def read_error_body(body: bytes) -> ErrorBody:
    """Read the body of an answer whose HTTP status is an error. Never raises."""
    document = _document(body)
    if isinstance(document, (dict, list)):
        return error_body_from_document(document)
    # A number is no document but the start of a line such as "404 page not found".
    text = document if isinstance(document, str) else body[:_MAX_TEXT_BYTES].decode("utf-8", errors="replace")
    return ErrorBody(one_line(_page_text(text) if text.lstrip("\ufeff \t\r\n").startswith("<") else text))


def error_body_from_document(document: Any) -> ErrorBody:
    """Read an error out of parsed JSON of any of the shapes above."""
    holder = _holder(document)
    members = holder if isinstance(holder, dict) else {}
    param = members.get("param")
    return ErrorBody(
        text=one_line(_text(document, 0)),
        signals=frozenset(_signals(document, 0)),
        code=_http_code(members.get("code")),
        param=param if isinstance(param, str) else None,
    )


def one_line(text: str) -> str:
    """Return text on one line, without what a terminal or a log would obey: controls, bidi marks, surrogates."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[:_MAX_TEXT_BYTES]).split())


def _document(body: bytes) -> Any:
    if len(body) > _MAX_JSON_BYTES:
        return None
    try:
        value, _ = jsontext.loads(body)
    except ValueError:
        return None
    return value


def _holder(document: Any) -> Any:
    """Return the innermost object that describes the error, or its text."""
    for _ in range(_MAX_DEPTH):
        inner = document[0] if isinstance(document, list) and document else None
        if isinstance(document, dict):
            inner = next((document[name] for name in ("error", "errors", "detail") if document.get(name)), None)
        if not isinstance(inner, (dict, list)):
            return document
        document = inner
    return document


def _text(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "; ".join(text for item in value[:_MAX_ITEMS] if (text := _text(item, depth + 1)))
    if not isinstance(value, dict):
        return ""
    # Outermost first, but an `error` or `detail` object knows more than the text beside it.
    for name in ("error", "errors", "detail"):
        if isinstance(value.get(name), (dict, list)) and (text := _text(value[name], depth + 1)):
            return text
    text = next((value[name] for name in _TEXT_NAMES if isinstance(value.get(name), str) and value[name]), "")
    where = value.get("loc")
    return f"{'.'.join(map(str, where))}: {text}" if text and isinstance(where, list) else text


def _signals(value: Any, depth: int) -> set[str]:
    if depth > _MAX_DEPTH:
        return set()
    if isinstance(value, list):
        return set().union(*(_signals(item, depth + 1) for item in value[:_MAX_ITEMS]))
    if not isinstance(value, dict):
        return set()
    found = {value[name].lower() for name in _SIGNAL_NAMES if isinstance(value.get(name), str)}
    # OpenRouter marks a prompt that its moderation refused by nothing but the presence of this member.
    if "flagged_input" in value:
        found.add("flagged_input")
    return found.union(*(_signals(value[name], depth + 1) for name in _NESTED_NAMES if name in value))


def _http_code(code: Any) -> int | None:
    # Proxies write the number as a string.
    return int(code) if _HTTP_CODE.fullmatch(str(code)) else None


def _page_text(page: str) -> str:
    title = _TITLE.search(page)
    return html.unescape(title.group(1) if title else _TAG.sub(" ", page))
