"""Owns answers with retrieval: a request that says where to look gets what was found beside its answer.

Chat: `knowledge_base` (an id or name, or a list of them) and `documents` (ids or names) in the body; the answer has a
list `retrieved_documents`. Responses: the tool `file_search`; the answer has a `file_search_call`, whose results come
where `include` asks for them, and citations of the files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner.simulate.prompts import InvalidRequestError
from runner.simulate.replies import ErrorBody
from runner.simulate.search import passes, search

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.simulate.contentstore import Content, Store
    from runner.simulate.forms import Asked, Reader
    from runner.simulate.search import Found
    from runner.simulate.variants import Answer

_RESULTS = "file_search_call.results"
_MOST = 50


def grounded(read: Reader, content: Content) -> Reader:
    """Return a reader of requests whose answers tell what was found, where a request asks for a search."""

    def read_grounded(body: Mapping[str, Any], digest: str) -> Asked:
        asked = read(body, digest)
        tool = _tool(body)
        if tool is not None:
            return _with_file_search(asked, body, tool, content)
        return _with_documents(asked, body, content) if body.get("knowledge_base") is not None else asked

    return read_grounded


def _with_documents(asked: Asked, body: Mapping[str, Any], content: Content) -> Asked:
    stores, documents = _stores(content, body["knowledge_base"], "knowledge_base"), body.get("documents")
    names = [documents] if isinstance(documents, str) else documents
    filters = None
    if names is not None:
        filters = {"type": "or", "filters": [{"type": "in", "key": key, "value": names} for key in ("name", "file_id")]}
    found = search(stores, asked.parts[0].last_user_text, filters)
    shown = [
        {"id": one.entry.file.id, "name": one.entry.file.name, "score": one.score, "text": one.text} for one in found
    ]
    return replace(asked, dress=lambda answer: {**asked.dress(answer), "retrieved_documents": shown})


def _with_file_search(asked: Asked, body: Mapping[str, Any], tool: Mapping[str, Any], content: Content) -> Asked:
    stores = _stores(content, tool.get("vector_store_ids"), "tools[0].vector_store_ids")
    most = tool.get("max_num_results")
    question = asked.parts[0].last_user_text
    try:
        passes({}, tool.get("filters"))  # also where there is nothing to filter
        found = search(stores, question, tool.get("filters"), min(most, _MOST) if type(most) is int else 10)
    except ValueError as error:
        raise InvalidRequestError(ErrorBody(str(error), param="tools[0].filters")) from None
    include = body.get("include")
    call = {
        "id": f"fs_{asked.whole.digest[:24]}",
        "type": "file_search_call",
        "status": "completed",
        "queries": [question],
        "results": _results(found) if isinstance(include, list) and _RESULTS in include else None,
    }
    return replace(asked, dress=lambda answer: _cited(asked.dress(answer), call, found))


def _results(found: list[Found]) -> list[dict[str, Any]]:
    return [
        {
            "file_id": one.entry.file.id,
            "filename": one.entry.file.name,
            "score": one.score,
            "text": one.text,
            "attributes": one.entry.attributes,
        }
        for one in found
    ]


def _cited(answer: Answer, call: dict[str, Any], found: list[Found]) -> Answer:
    for item in answer["output"]:
        for part in item.get("content") or () if item["type"] == "message" else ():
            if part["type"] == "output_text":
                files = dict.fromkeys((one.entry.file.id, one.entry.file.name) for one in found)
                part["annotations"] = [
                    {"type": "file_citation", "index": 0, "file_id": identity, "filename": name}
                    for identity, name in files
                ]
    return {**answer, "output": [call, *answer["output"]]}


def _tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    tools = body.get("tools")
    listed = tools if isinstance(tools, list) else []
    return next((one for one in listed if isinstance(one, dict) and one.get("type") == "file_search"), None)


def _stores(content: Content, wanted: Any, param: str) -> list[Store]:
    names = wanted if isinstance(wanted, list) else [wanted]
    by_name = {store.name: store for store in content.stores.values()} if param == "knowledge_base" else {}
    stores = [content.stores.get(name) or by_name.get(name) for name in names if isinstance(name, str)]
    if not names or len(stores) < len(names) or None in stores:
        message = f"Vector store with id {wanted} not found."
        raise InvalidRequestError(ErrorBody(message[:300], param=param))
    return [store for store in stores if store is not None]
