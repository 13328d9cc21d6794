"""How the chosen knowledge base and documents stand in a request's body."""

from __future__ import annotations

from typing import Any

import pytest

from runner.endpoints.retrieval import enter_chat, enter_responses
from runner.errors import TemplateError

RESULTS = "file_search_call.results"


def eq(key: str, value: str) -> dict[str, str]:
    return {"type": "eq", "key": key, "value": value}


@pytest.mark.parametrize(
    ("knowledge_base", "documents", "added"),
    [
        ("kb", None, {"knowledge_base": "kb"}),
        ("kb", ["a", "b"], {"knowledge_base": "kb", "documents": ["a", "b"]}),
        (7, [], {"knowledge_base": 7, "documents": []}),
        (None, {"any": "thing"}, {"documents": {"any": "thing"}}),
        (None, None, {}),
    ],
)
def test_chat_bodies_name_both_as_they_are(knowledge_base: Any, documents: Any, added: dict[str, Any]) -> None:
    body = {"model": "m", "messages": []}
    assert enter_chat(body, knowledge_base, documents) == {**body, **added}


@pytest.mark.parametrize(
    ("body", "knowledge_base", "documents", "tools", "include"),
    [
        ({}, "vs", None, [{"type": "file_search", "vector_store_ids": ["vs"]}], [RESULTS]),
        ({}, ["v", "w"], None, [{"type": "file_search", "vector_store_ids": ["v", "w"]}], [RESULTS]),
        (
            {"include": ["reasoning.encrypted_content", RESULTS]},
            "vs",
            "a.pdf",
            [
                {
                    "type": "file_search",
                    "vector_store_ids": ["vs"],
                    "filters": {"type": "or", "filters": [eq("name", "a.pdf"), eq("file_id", "a.pdf")]},
                }
            ],
            ["reasoning.encrypted_content", RESULTS],
        ),
        (
            {"tools": [{"type": "file_search", "max_num_results": 3}, {"type": "web_search"}], "include": ["x"]},
            "vs",
            {"type": "eq", "key": "k", "value": 1},
            [
                {"type": "web_search"},
                {
                    "type": "file_search",
                    "max_num_results": 3,
                    "vector_store_ids": ["vs"],
                    "filters": {"type": "eq", "key": "k", "value": 1},
                },
            ],
            ["x", RESULTS],
        ),
    ],
)
def test_responses_get_a_file_search(
    body: dict[str, Any], knowledge_base: Any, documents: Any, tools: list[Any], include: list[str]
) -> None:
    before = repr(body)
    assert enter_responses(body, knowledge_base, documents) == {**body, "tools": tools, "include": include}
    assert repr(body) == before


def test_several_documents_are_one_filter() -> None:
    made = enter_responses({}, "vs", ["a", "b"])
    assert made["tools"][0]["filters"] == {
        "type": "or",
        "filters": [eq("name", "a"), eq("file_id", "a"), eq("name", "b"), eq("file_id", "b")],
    }


def test_null_in_both_asks_without_a_search() -> None:
    assert enter_responses({"input": []}, None, None) == {"input": []}


@pytest.mark.parametrize(
    ("knowledge_base", "documents", "key"),
    [
        (None, "a", "knowledge_base"),
        ("", None, "knowledge_base"),
        ([], None, "knowledge_base"),
        (3, None, "knowledge_base"),
        ([None], None, "knowledge_base"),
        ({"id": "vs"}, None, "knowledge_base"),
        ("vs", [], "documents"),
        ("vs", 5, "documents"),
        ("vs", ["a", 1], "documents"),
    ],
)
def test_what_names_nothing_is_refused(knowledge_base: Any, documents: Any, key: str) -> None:
    with pytest.raises(TemplateError, match=f"request.retrieval.{key}: expected a text or a list of texts"):
        enter_responses({}, knowledge_base, documents)
