"""Vectors of an adapter's answers: what is found, which input it is of, and what becomes of everything else."""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.config import adapter_from_dict, load_adapter
from runner.endpoints.adapter import compile_adapter
from runner.endpoints.mapping import compile_vectors
from runner.records import Usage

if TYPE_CHECKING:
    from runner.records import Output

INDEXED = {"list": "data", "vector": "embedding", "index": "index"}
BARE = {"list": "vectors"}


def outputs(embeddings: dict[str, Any], body: Any, cases: int, choices: int = 1) -> list[Output]:
    """Return what an answer to `cases` × `choices` inputs becomes, in the order of the inputs."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    parsed = compile_vectors({"embeddings": embeddings}, {}).parse(raw, cases, choices)
    assert [[output.choice for output in case] for case in parsed.outputs] == [list(range(choices))] * cases
    return [output for case in parsed.outputs for output in case]


def told(output: Output) -> Any:
    """Return a vector as a list, or the kind of error that stands for it."""
    return output.error_kind if output.embedding is None else output.embedding.tolist()


def as_base64(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


def entry(index: Any, *numbers: Any) -> dict[str, Any]:
    return {"index": index, "embedding": list(numbers)}


@pytest.mark.parametrize(
    ("embeddings", "body", "expected"),
    [
        (BARE, {"vectors": [[1, 2], [3.5, -4]]}, [[1, 2], [3.5, -4]]),
        (BARE, {"vectors": [as_base64(1, 2), as_base64(3, 4)]}, [[1, 2], [3, 4]]),
        ({"list": "@"}, [[1], [2]], [[1], [2]]),
        ({"list": "[vector]"}, {"vector": [1, 2]}, [[1, 2]]),
        ({"list": "data", "vector": "v.dense"}, {"data": [{"v": {"dense": [1]}}, {"v": {"dense": [2]}}]}, [[1], [2]]),
        (INDEXED, {"data": [entry(1, 10), entry(0, 0), entry(2, 20)]}, [[0], [10], [20]]),
        (INDEXED, {"data": [{"embedding": [7]}]}, [[7]]),
        (INDEXED, {"data": [entry(0, 7)]}, [[7]]),
        # One of them is lost: its input fails alone where there is an index, and all of them where there is none.
        (INDEXED, {"data": [entry(2, 20), entry(0, 0)]}, [[0], "missing_choice", [20]]),
        (INDEXED, {"data": [entry(0, 1), entry(0, 2), entry(2, 3)]}, ["missing_choice", "missing_choice", [3]]),
        (INDEXED, {"data": [entry(0, 1), entry("1", 2), entry(2, 3)]}, [[1], "missing_choice", [3]]),
        (
            INDEXED,
            {"data": [entry(0, 1), {"index": True, "embedding": [2]}, entry(2, 3)]},
            [[1], "missing_choice", [3]],
        ),
        (INDEXED, {"data": [entry(0, 1), entry([], 2), entry(2, 3)]}, [[1], "missing_choice", [3]]),
        (INDEXED, {"data": [entry(0, 1), None, entry(2, 3)]}, [[1], "missing_choice", [3]]),
        (BARE, {"vectors": [[1], [2]]}, ["parse"] * 3),
        (BARE, {"vectors": [[1], [2], [3], [4]]}, ["parse"] * 3),
        # No index at all, or one that counts otherwise: none of them can be trusted.
        (INDEXED, {"data": [{"embedding": [n]} for n in range(3)]}, ["parse"] * 3),
        (INDEXED, {"data": [entry(1, 1), entry(2, 2), entry(3, 3)]}, ["parse"] * 3),
        (INDEXED, {"data": [entry(-1, 1), entry(0, 2), entry(1, 3)]}, ["parse"] * 3),
        (INDEXED, {"data": [entry(10**18, 1), entry(0, 2), entry(1, 3)]}, ["parse"] * 3),
        (INDEXED, {"data": [entry(1, 7)]}, ["parse"]),
        # What is no vector fails alone.
        (BARE, {"vectors": [[1], "x", [3]]}, [[1], "parse", [3]]),
        (BARE, {"vectors": [[1], "AAA=", [3]]}, [[1], "parse", [3]]),
        (BARE, {"vectors": [[1], [], [3]]}, [[1], "parse", [3]]),
        (BARE, {"vectors": [[1], {"a": 1}, [3]]}, [[1], "parse", [3]]),
        (BARE, {"vectors": [[1], None, [3]]}, [[1], "parse", [3]]),
        (BARE, {"vectors": [[1], ["2"], [3]]}, [[1], "parse", [3]]),
        (BARE, {"vectors": [[1], [True], [3]]}, [[1], "parse", [3]]),
        (BARE, {"vectors": [[1], [[2]], [3]]}, [[1], "parse", [3]]),
        (BARE, {"vectors": [[1], 2, [3]]}, [[1], "parse", [3]]),
    ],
)
def test_a_vector_is_of_its_input_or_of_none(embeddings: dict[str, Any], body: Any, expected: list[Any]) -> None:
    assert [told(output) for output in outputs(embeddings, body, len(expected))] == expected


def test_a_projection_that_drops_a_null_gives_no_vector_to_its_neighbour() -> None:
    body = {"data": [{"v": [1]}, {"v": None}, {"v": [3]}]}
    assert [told(output) for output in outputs({"list": "data[].v"}, body, 3)] == ["parse"] * 3
    assert [told(output) for output in outputs({"list": "data", "vector": "v"}, body, 3)] == [[1], "parse", [3]]


def test_several_inputs_of_a_sample_are_its_choices() -> None:
    body = {"data": [entry(n, n) for n in (3, 1, 2, 0)]}
    assert [told(output) for output in outputs(INDEXED, body, 2, 2)] == [[0], [1], [2], [3]]


def test_what_no_float_holds_is_null_and_noted() -> None:
    (output,) = outputs(BARE, b'{"vectors": [[1, null, 1e400, 1' + b"0" * 400 + b", NaN]]}", 1)
    assert output.embedding is not None
    assert [None if math.isnan(one) else one for one in output.embedding.tolist()] == [1, None, None, None, None]
    assert output.note == "embedding: 4 values are not finite, and null"


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ({"list": "vectors"}, "response.embeddings.list of the adapter (`vectors`) finds no vectors"),
        ({"list": "nulls"}, "response.embeddings.list of the adapter (`nulls`) finds nothing in the 2 entries"),
        ({"list": "nulls", "vector": "v"}, "response.embeddings.vector of the adapter (`v`) finds nothing in the 2 en"),
        ({"list": "text"}, "response.embeddings.list of the adapter (`text`) finds no vectors"),
        ({"list": "join(text, text)"}, "response.embeddings.list of the adapter (`join(text, text)`) finds no vectors"),
    ],
)
def test_a_mapping_that_finds_nothing_says_which_expression(embeddings: dict[str, Any], message: str) -> None:
    mapping = compile_vectors({"embeddings": embeddings}, {})
    body = {"nulls": [None, None], "text": "abc"}
    problem = mapping.find_problem(body)
    assert problem is not None
    assert problem.message.startswith(message)
    with pytest.raises(ValueError, match="of the adapter"):
        mapping.parse(orjson.dumps(body), 1, 1)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": "n"}, Usage(prompt_tokens=5, total_tokens=5)),
        ({"prompt_tokens": "n", "total_tokens": "t"}, Usage(prompt_tokens=5, total_tokens=6)),
        ({"total_tokens": "t"}, Usage(total_tokens=6)),
        ({"prompt_tokens": "x"}, Usage()),
        ({}, Usage()),
    ],
)
def test_the_total_of_vectors_is_what_their_inputs_took(usage: dict[str, str], expected: Usage) -> None:
    mapping = compile_vectors({"embeddings": BARE, "usage": usage}, {})
    body = {"vectors": [[1]], "n": 5, "t": 6, "x": "many"}
    assert mapping.count_tokens(body) == expected
    read = mapping.parse(orjson.dumps(body), 1, 1).usage
    assert (read.prompt_tokens, read.completion_tokens, read.total_tokens) == (
        expected.prompt_tokens,
        None,
        expected.total_tokens,
    )
    assert (read.raw is None) == (read.total_tokens is None)


# ---------------------------------------------------------------- the request

ARRAY: dict[str, Any] = {
    "endpoints": ["embeddings"],
    "path": "/embed",
    "capabilities": {"array_input": True},
    "params": {"rename": {"dimensions": "dims"}},
    "body": {"$merge": "{{ params }}", "deep": {"zlast": 1, "texts": "{{ input }}"}, "note": "{{ row.note }}"},
    "response": {"embeddings": {"list": "vectors"}},
}
SINGLE = {**ARRAY, "capabilities": {}, "body": {"text": "query: {{ input }}", "ids": "{{ input[0] }}"}}
HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(["\0", '"\0"', "\\u0000"])


@given(st.lists(HOSTILE, min_size=1, max_size=4), HOSTILE, HOSTILE)
@settings(deadline=None)
def test_what_stands_around_the_array_is_what_the_tree_makes(texts: list[str], note: str, model: str) -> None:
    adapter = compile_adapter(adapter_from_dict(ARRAY, "mine"))
    logical = {"model": model, "dimensions": note, "trace": note, "$row": {"note": note}}
    names = ("dimensions",), ("trace",)
    before, after = adapter.wire_around(*names)(logical)
    wire = adapter.wire("embeddings", *names)
    for inputs in (texts, texts[:1]):
        assert wire({**logical, "input": inputs}) == before + orjson.dumps(inputs) + after
    assert wire({**logical, "input": texts[0]}) == before + orjson.dumps(texts[:1]) + after
    assert orjson.loads(before + b"[]" + after) == {
        "dims": note,
        "deep": {"zlast": 1, "texts": []},
        "note": note,
        "trace": note,
    }


@pytest.mark.parametrize(
    ("content", "seen"),
    [("a", ["a"]), (["a"], ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_an_array_holds_inputs_whatever_a_row_gives(content: Any, seen: list[Any]) -> None:
    adapter = compile_adapter(adapter_from_dict(ARRAY, "mine"))
    assert orjson.loads(adapter.wire("embeddings", (), ())({"input": content}))["deep"]["texts"] == seen


@pytest.mark.parametrize(
    ("content", "body"),
    [("a", {"text": "query: a"}), (["a"], {"text": "query: a"}), ([7, 8], {"text": "query: [7,8]", "ids": 7})],
)
def test_without_an_array_the_body_sees_the_one_input(content: Any, body: dict[str, Any]) -> None:
    adapter = compile_adapter(adapter_from_dict(SINGLE, "mine"))
    assert orjson.loads(adapter.wire("embeddings", (), ())({"input": content})) == body


def test_what_other_endpoints_call_input_is_left_as_it_is() -> None:
    spec = {**SINGLE, "endpoints": ["chat", "embeddings"], "response": {"text": "a", **SINGLE["response"]}}
    adapter = compile_adapter(adapter_from_dict({**spec, "body": {"more": "{{ input }}"}}, "mine"))
    assert adapter.wire("chat", ("input",), ())({"input": ["a", "b"]}) == b'{"more":["a","b"]}'
    assert adapter.wire("chat", (), ())({}) == b"{}"


def test_the_endpoint_is_that_of_embeddings_with_the_adapters_own_limits() -> None:
    cohere = compile_adapter(load_adapter("cohere-embed")).endpoint("embeddings")
    assert (cohere.name, cohere.field, cohere.batch_url, cohere.glance) == ("embeddings", "input", None, None)
    assert cohere.packable is not None
    assert (cohere.packable.by_default, cohere.packable.encoding, cohere.packable.most) == (True, None, 96)
    assert compile_adapter(adapter_from_dict(SINGLE, "mine")).endpoint("embeddings").packable is None
