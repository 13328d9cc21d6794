"""Owns how the knowledge base and the documents chosen for a sample enter its request.

Chat has no common field for it, so two plain ones stand beside the messages: `knowledge_base` and `documents`. A system
that calls them otherwise is described by an adapter. For the Responses API both become its `file_search` tool (OpenAI
API reference, "File search"), whose filters look at the attributes that `evalrunner documents add` gives each file.
"""

from __future__ import annotations

from typing import Any

from runner.errors import TemplateError

# What `documents add` writes beside each file of a vector store, and filters look at.
NAME_ATTRIBUTE = "name"
FILE_ATTRIBUTE = "file_id"

_TOOL = "file_search"
_RESULTS = "file_search_call.results"


def enter_chat(body: dict[str, Any], knowledge_base: Any, documents: Any) -> dict[str, Any]:
    """Return a chat body that names the knowledge base and the documents; null leaves a field out."""
    chosen = {"knowledge_base": knowledge_base, "documents": documents}
    return {**body, **{name: value for name, value in chosen.items() if value is not None}}


def enter_responses(body: dict[str, Any], knowledge_base: Any, documents: Any) -> dict[str, Any]:
    """Return a body with a `file_search` tool over the vector stores, and with its results asked for.

    A `file_search` tool of the body's own keeps its other settings. `knowledge_base` is an id or a list of ids, both
    null for no search at all; `documents` a name or id, a list of them, or an object: a filter that is sent as it is.
    Raises TemplateError for anything else.
    """
    if knowledge_base is None and documents is None:
        return body
    tool: dict[str, Any] = {"type": _TOOL, "vector_store_ids": _names(knowledge_base, "knowledge_base")}
    if documents is not None:
        tool["filters"] = _filter_of(documents)
    tools = body.get("tools")
    tools = tools if isinstance(tools, list) else []
    own = next((one for one in tools if isinstance(one, dict) and one.get("type") == _TOOL), {})
    include = body.get("include")
    include = include if isinstance(include, list) else []
    return {
        **body,
        "tools": [*(one for one in tools if one is not own), {**own, **tool}],
        "include": include if _RESULTS in include else [*include, _RESULTS],
    }


def _filter_of(documents: Any) -> dict[str, Any]:
    if isinstance(documents, dict):
        return documents
    equal = [
        {"type": "eq", "key": key, "value": name}
        for name in _names(documents, "documents")
        for key in (NAME_ATTRIBUTE, FILE_ATTRIBUTE)
    ]
    return {"type": "or", "filters": equal}


def _names(value: Any, key: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and names and all(isinstance(name, str) and name for name in names):
        return names
    found = "null" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
    hint = "null in both keys asks without a search" if value is None else "an id, or a list of ids"
    raise TemplateError(f"request.retrieval.{key}: expected a text or a list of texts, found {found}", hint=hint)
