"""The lists that RAG systems put beside their answers become one column; whatever stands there, nothing crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS
from runner.endpoints.retrieved import read_documents, read_in_message
from runner.jsontext import loads
from tests.endpoints.test_chat_fuzz import JSON

if TYPE_CHECKING:
    from runner.records import Retrieved

Found = list[tuple[int, str | None, float | None, str | None]] | None


def fields(documents: list[Retrieved] | None) -> Found:
    return None if documents is None else [(one.rank, one.id, one.score, one.text) for one in documents]


def chat(beside: dict[str, Any], message: dict[str, Any], choice: dict[str, Any]) -> Found:
    whole = {"role": "assistant", "content": "Paris.", **message}
    body = {"id": "1", "choices": [{"index": 0, "message": whole, "finish_reason": "stop", **choice}], **beside}
    parsed = ENDPOINTS["chat"].parse(orjson.dumps(body), 1, 1)
    (output,) = parsed.outputs[0]
    assert (output.text, output.status) == ("Paris.", "ok")
    return fields(output.retrieved)


AT_THE_TOP: dict[str, tuple[dict[str, Any], Found]] = {
    "nothing": ({}, None),
    "perplexity": (
        {
            "citations": ["https://a.example/1"],
            "search_results": [
                {"title": "A", "url": "https://a.example/1", "date": "2026-01-01", "snippet": "the text"}
            ],
        },
        [(1, "https://a.example/1", None, "the text")],
    ),
    "perplexity, links alone": ({"citations": ["https://a.example/1"]}, [(1, "https://a.example/1", None, None)]),
    "llamaindex": (
        {
            "source_nodes": [
                {"node": {"id_": "n1", "text": "passage", "metadata": {"file_name": "a.pdf"}}, "score": 0.83}
            ]
        },
        [(1, "n1", 0.83, "passage")],
    ),
    "langchain": (
        {"source_documents": [{"id": None, "page_content": "passage", "metadata": {"source": "a.pdf", "page": 3}}]},
        [(1, "a.pdf", None, "passage")],
    ),
    "langchain, context": (
        {"context": [{"page_content": "one", "metadata": {}}, {"page_content": "two", "metadata": {"id": 7}}]},
        [(1, None, None, "one"), (2, "7", None, "two")],
    ),
    "cohere 1": (
        {
            "documents": [{"id": "doc_0", "snippet": "tall penguins", "title": "Tall"}],
            "citations": [{"start": 0, "end": 5, "text": "Paris", "document_ids": ["doc_0"]}],
        },
        [(1, "doc_0", None, "tall penguins")],
    ),
    "cohere 1, citations alone": (
        {"citations": [{"start": 0, "end": 5, "text": "Paris", "document_ids": ["doc_0", "doc_2"]}]},
        [(1, "doc_0", None, None), (2, "doc_2", None, None)],
    ),
    "dify": (
        {
            "metadata": {
                "retriever_resources": [
                    {"position": 2, "document_id": "d", "segment_id": "s", "score": 0.5, "content": "c"},
                    {"position": 1, "document_id": "e", "segment_id": "t", "score": 0.7, "content": "b"},
                ]
            }
        },
        [(2, "d", 0.5, "c"), (1, "e", 0.7, "b")],
    ),
    "vector store search": (
        {
            "search_results": [
                {"data": [{"file_id": "f", "filename": "a", "score": 1, "content": [{"type": "text", "text": "t"}]}]}
            ]
        },
        [(1, "f", 1.0, "t")],
    ),
    "texts": (
        {"context": ["a whole passage", "doc-7"]},
        [(1, None, None, "a whole passage"), (2, "doc-7", None, None)],
    ),
    "ranks of the server": (
        {"sources": [{"id": "a", "rank": 5}, {"id": "b", "rank": 6}]},
        [(5, "a", None, None), (6, "b", None, None)],
    ),
    "some ranks are none": (
        {"sources": [{"id": "a", "rank": 5}, {"id": "b", "rank": "x"}]},
        [(1, "a", None, None), (2, "b", None, None)],
    ),
    "empty": ({"documents": []}, []),
    "null": ({"documents": None, "sources": "none", "context": 3}, None),
    "a context that is a text": ({"context": "some passage"}, None),
    "strange entries": ({"documents": [1, None, [], {}, {"id": "a"}, {"x": 1}]}, [(1, "a", None, None)]),
    "strange fields": (
        {"documents": [{"id": True, "score": "high", "text": 3}, {"id": "a", "score": True, "text": [1, {"text": 2}]}]},
        [(1, "a", None, None)],
    ),
    "scores out of bounds": (
        {"documents": [{"id": "a", "score": 1e308}, {"id": "b", "score": -0.5}]},
        [(1, "a", 1e308, None), (2, "b", -0.5, None)],
    ),
}
IN_THE_MESSAGE: dict[str, tuple[dict[str, Any], Found]] = {
    "azure": (
        {"context": {"intent": "[]", "citations": [{"content": "c", "title": "T", "url": "u", "chunk_id": "0"}]}},
        [(1, "u", None, "c")],
    ),
    "azure, no link": (
        {"context": {"citations": [{"content": "c", "title": "T", "filepath": None, "url": None, "chunk_id": "0"}]}},
        [(1, "T", None, "c")],
    ),
    "azure, all documents": (
        {
            "context": {
                "citations": [{"content": "c", "url": "u"}],
                "all_retrieved_documents": [
                    {"content": "c", "url": "u", "original_search_score": 3.5, "rerank_score": 2.5},
                    {"content": "d", "url": "v", "original_search_score": 1.0, "filter_reason": "score"},
                ],
            }
        },
        [(1, "u", 2.5, "c")],
    ),
    "azure, nothing found": ({"context": {"citations": [], "intent": "[]"}}, []),
    "cohere 2": (
        {
            "citations": [
                {"text": "x", "sources": [{"type": "document", "id": "d", "document": {"snippet": "passage"}}]}
            ]
        },
        [(1, "d", None, "passage")],
    ),
    "openrouter": (
        {"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "T", "content": "c"}}]},
        [(1, "u", None, "c")],
    ),
    "assistants": (
        {
            "annotations": [
                {"type": "file_citation", "text": "【4:0†source】", "file_citation": {"file_id": "f", "quote": "q"}},
                {"type": "file_citation", "text": "【4:1†source】", "file_citation": {"file_id": "f"}},
                {"type": "file_path", "file_path": {"file_id": "g"}},
            ]
        },
        [(1, "f", None, "q")],
    ),
    "no annotations": ({"annotations": []}, None),
    "strange annotations": ({"annotations": [1, None, {"type": []}, {"type": "file_citation"}, "x"]}, None),
    "a refusal beside it": ({"refusal": None, "annotations": [], "documents": [{"id": "a"}]}, [(1, "a", None, None)]),
}


@pytest.mark.parametrize(("beside", "found"), AT_THE_TOP.values(), ids=AT_THE_TOP)
def test_documents_at_the_top_of_an_answer_and_in_a_choice(beside: dict[str, Any], found: Found) -> None:
    assert chat(beside, {}, {}) == found
    assert chat({}, {}, beside) == found


@pytest.mark.parametrize(("message", "found"), IN_THE_MESSAGE.values(), ids=IN_THE_MESSAGE)
def test_documents_in_a_message(message: dict[str, Any], found: Found) -> None:
    assert chat({}, message, {}) == found


def test_the_closest_list_is_the_one_of_the_answer() -> None:
    top, choice, message = ({"documents": [{"id": name}]} for name in ("top", "choice", "message"))
    assert chat(top, message, choice) == [(1, "message", None, None)]
    assert chat(top, {"reasoning": "hm"}, choice) == [(1, "choice", None, None)]
    assert chat(top, {"reasoning": "hm"}, {}) == [(1, "top", None, None)]


def test_all_choices_share_what_stands_beside_them() -> None:
    choices = [{"index": number, "message": {"content": "x"}} for number in range(2)]
    body = {"choices": choices, "documents": [{"id": "a"}]}
    parsed = ENDPOINTS["chat"].parse(orjson.dumps(body), 1, 2)
    assert [fields(output.retrieved) for output in parsed.outputs[0]] == [[(1, "a", None, None)]] * 2


RESULT = {"file_id": "f1", "filename": "a.txt", "score": 0.9, "text": "passage", "attributes": {"name": "other"}}
SEARCH = {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"]}
CITED = [{"type": "file_citation", "index": 3, "file_id": "f2", "filename": "b.txt"}]


@pytest.mark.parametrize(
    ("searches", "annotations", "found"),
    [
        ([], [], None),
        ([{**SEARCH, "results": [RESULT]}], CITED, [(1, "f1", 0.9, "passage")]),
        (
            [{**SEARCH, "results": [RESULT]}, {**SEARCH, "results": [{**RESULT, "file_id": "f3"}]}],
            [],
            [(1, "f1", 0.9, "passage"), (2, "f3", 0.9, "passage")],
        ),
        ([{**SEARCH, "results": []}], [], []),
        ([{**SEARCH, "results": None}], CITED * 2, [(1, "f2", None, None)]),
        ([SEARCH], [], None),
        ([{**SEARCH, "results": "none"}], 3, None),
    ],
)
def test_documents_of_a_response(searches: list[Any], annotations: Any, found: Found) -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "x", "annotations": annotations}]}
    body = {"status": "completed", "output": [*searches, message]}
    (output,) = ENDPOINTS["responses"].parse(orjson.dumps(body), 1, 1).outputs[0]
    assert (output.text, fields(output.retrieved)) == ("x", found)


def test_a_list_without_end_is_cut_with_a_note() -> None:
    notes: list[str] = []
    found = read_documents([{"id": "a"}] * 25_000, notes)
    assert found is not None
    assert (len(found), len(notes)) == (10_000, 1)
    notes = []
    assert read_documents([{"data": [{"data": [{"id": "x"}]}] * 5}] * 3, notes) == []
    assert notes == ["15 retrieved documents cannot be read"]


def test_numbers_that_json_does_not_know_are_no_scores() -> None:
    body = b'{"documents":[{"id":"a","score":NaN},{"id":"b","score":-Infinity},{"id":"c","score":1%s}]}' % (b"0" * 400)
    value, _ = loads(body)
    assert fields(read_documents(value["documents"], [])) == [(n + 1, i, None, None) for n, i in enumerate("abc")]


_NAMES = ["id", "score", "text", "content", "metadata", "node", "source", "document", "rank", "data", "sources", "url"]
_ENTRY = st.recursive(
    JSON | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=5),
    max_leaves=20,
)
_HOLDER = st.dictionaries(
    st.sampled_from(["documents", "sources", "citations", "context", "annotations", "metadata", "search_results"]),
    st.lists(_ENTRY, max_size=4) | _ENTRY,
)


@given(_HOLDER)
def test_no_shape_crashes_and_every_document_fits_its_column(holder: dict[str, Any]) -> None:
    notes: list[str] = []
    for one in read_in_message(holder, notes) or ():
        assert 0 <= one.rank < 2**31
        assert one.id is None or (isinstance(one.id, str) and one.id)
        assert one.score is None or isinstance(one.score, float)
        assert one.text is None or isinstance(one.text, str)
        assert (one.id, one.score, one.text) != (None, None, None)
        orjson.dumps([one.id, one.text])


@given(st.lists(_ENTRY, max_size=5))
def test_nor_do_lists_that_an_adapter_found(entries: list[Any]) -> None:
    found = read_documents(entries, [])
    assert found is not None
    assert read_documents({"not": "a list"}, []) is None
