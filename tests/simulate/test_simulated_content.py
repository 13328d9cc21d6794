"""The simulator's content API and its searches, asked directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from runner.errors import UsageError
from runner.simulate import ContentRules, SimulatorOptions, open_simulator
from runner.simulate.contentstore import Content
from runner.simulate.search import passes, search

if TYPE_CHECKING:
    from runner.simulate import Simulator

TEXT = "The capital of France is Paris.\n\nThe capital of Italy is Rome."

NINE, ONE = ({"type": "eq", "key": "n", "value": value} for value in (9, 1))


def stored(*texts: str) -> tuple[Content, str]:
    content = Content(ContentRules(index_after=0))
    store = content.add_store("kb")
    for number, text in enumerate(texts):
        file = content.add_file(f"{number}.txt", "assistants", text.encode())
        content.attach(store, file, {"name": file.name, "n": number})
    return content, store.id


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("capital of Italy", [("The capital of Italy is Rome.", 1.0), ("The capital of France is Paris.", 2 / 3)]),
        ("PARIS", [("The capital of France is Paris.", 1.0)]),
        ("nothing here", []),
        ("", []),
        ("?!", []),
    ],
)
def test_searches_score_by_the_words_they_share(question: str, found: list[tuple[str, float]]) -> None:
    content, store = stored(TEXT)
    assert [(one.text, one.score) for one in search([content.stores[store]], question)] == found


def test_the_best_come_first_and_no_more_than_asked_for() -> None:
    content, store = stored("one two", "one", "one two three", "four")
    stores = [content.stores[store]]
    assert [one.entry.file.name for one in search(stores, "one two three")] == ["2.txt", "0.txt", "1.txt"]
    assert len(search(stores, "one two three", most=2)) == 2


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, True),
        ({"type": "eq", "key": "name", "value": "a"}, True),
        ({"type": "ne", "key": "name", "value": "a"}, False),
        ({"type": "in", "key": "n", "value": [1, 2]}, True),
        ({"type": "nin", "key": "n", "value": [1, 2]}, False),
        ({"type": "eq", "key": "other", "value": "a"}, False),
        ({"type": "or", "filters": [NINE, ONE]}, True),
        ({"type": "and", "filters": [NINE, ONE]}, False),
        ({"type": "and", "filters": [ONE, {"type": "or", "filters": [NINE, ONE]}]}, True),
    ],
)
def test_filters(filters: Any, expected: bool) -> None:  # noqa: FBT001 - a table
    assert passes({"name": "a", "n": 1}, filters) is expected


@pytest.mark.parametrize("filters", ["x", {}, {"type": "or", "filters": []}, {"type": "like", "key": "a", "value": 1}])
def test_what_is_no_filter_is_refused(filters: Any) -> None:
    with pytest.raises(ValueError, match="Invalid filter"):
        passes({}, filters)


@pytest.mark.parametrize("rules", [{"page": 0}, {"index_after": -1}, {"upload_faults": {1: "x"}}, {"list_fault": "x"}])
def test_rules_that_make_no_sense_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ContentRules(**rules)


async def ask(simulator: Simulator, method: str, path: str, **sending: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{simulator.base_url}{path}", **sending) as answer,
    ):
        return answer.status, await answer.json()


@pytest.mark.asyncio
async def test_from_an_upload_to_an_answer_with_its_sources() -> None:
    async with open_simulator(SimulatorOptions(content=ContentRules(stores=("kb",), index_after=1))) as simulator:
        form = aiohttp.FormData({"purpose": "assistants"})
        form.add_field("file", TEXT.encode(), filename="geo.txt")
        status, file = await ask(simulator, "POST", "/files", data=form)
        assert (status, file["filename"], file["bytes"]) == (200, "geo.txt", len(TEXT))
        entries = "/vector_stores/vs-000001/files"
        status, entry = await ask(simulator, "POST", entries, json={"file_id": file["id"]})
        assert (status, entry["status"]) == (200, "in_progress")
        tool = {"type": "file_search", "vector_store_ids": ["vs-000001"]}
        body = {"input": "capital of Italy", "tools": [tool], "include": ["file_search_call.results"]}
        _, nothing = await ask(simulator, "POST", "/responses", json=body)
        assert nothing["output"][0]["results"] == []
        assert (await ask(simulator, "GET", f"{entries}/{file['id']}"))[1]["status"] == "completed"
        _, answer = await ask(simulator, "POST", "/responses", json=body)
        call, message = answer["output"]
        assert call["results"][0]["text"] == "The capital of Italy is Rome."
        assert message["content"][0]["annotations"][0]["file_id"] == file["id"]
        _, quiet = await ask(simulator, "POST", "/responses", json={**body, "include": []})
        assert quiet["output"][0]["results"] is None
        chat = {"messages": [{"role": "user", "content": "Rome"}], "knowledge_base": "kb"}
        _, completion = await ask(simulator, "POST", "/chat/completions", json=chat)
        assert [one["id"] for one in completion["retrieved_documents"]] == [file["id"]]
        _, plain = await ask(simulator, "POST", "/chat/completions", json={"messages": chat["messages"]})
        assert "retrieved_documents" not in plain


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/vector_stores/none", None, 404),
        ("GET", "/vector_stores/vs-000001/files/none", None, 404),
        ("DELETE", "/files/none", None, 404),
        ("DELETE", "/files", None, 405),
        ("DELETE", "/vector_stores", None, 405),
        ("POST", "/vector_stores/vs-000001/files", {"file_id": "none"}, 404),
        ("POST", "/vector_stores", [], 400),
        ("POST", "/files", {"purpose": "assistants"}, 400),
        ("POST", "/responses", {"input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["none"]}]}, 400),
        ("POST", "/responses", {"input": "x", "tools": [{"type": "file_search"}]}, 400),
        (
            "POST",
            "/responses",
            {"input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["vs-000001"], "filters": 3}]},
            400,
        ),
        ("POST", "/chat/completions", {"messages": [{"role": "user", "content": "x"}], "knowledge_base": 3}, 400),
    ],
)
async def test_wrong_requests_are_told_so(method: str, path: str, body: Any, expected: int) -> None:
    async with open_simulator(SimulatorOptions(content=ContentRules(stores=("kb",)))) as simulator:
        status, answer = await ask(simulator, method, path, json=body)
        assert status == expected
        assert answer["error"]["message"]


@pytest.mark.asyncio
async def test_another_key_reaches_no_content() -> None:
    async with open_simulator(SimulatorOptions(api_keys=("sk-right",))) as simulator:
        for method, path in (("GET", "/vector_stores"), ("POST", "/files"), ("DELETE", "/files/x")):
            assert (await ask(simulator, method, path))[0] == 401
        headers = {"Authorization": "Bearer sk-right"}
        assert (await ask(simulator, "GET", "/vector_stores", headers=headers))[0] == 200
