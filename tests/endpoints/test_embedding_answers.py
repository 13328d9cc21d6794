"""Embedding answers: joined by index and never by place, base64 and numbers, odd and hostile bodies."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS, count_tokens
from runner.endpoints.vectors import VectorError, decode, decode_all, vector_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runner.records import Parsed

EMBEDDINGS = ENDPOINTS["embeddings"]
MISSING = ("failed", "missing_choice")


def vectors(count: int, size: int = 5) -> list[NDArray[np.float32]]:
    chance = np.random.default_rng(count)
    return list(chance.standard_normal((count, size)).astype(np.float32))


def as_text(vector: Any) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def entries(given: list[Any], *, numbers: bool = False) -> list[dict[str, Any]]:
    return [
        {"object": "embedding", "index": index, "embedding": vector.tolist() if numbers else as_text(vector)}
        for index, vector in enumerate(given)
    ]


def body_of(data: Any, **more: Any) -> bytes:
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return orjson.dumps({"object": "list", "data": data, "model": "m", "usage": usage, **more})


def found(parsed: Parsed) -> list[Any]:
    """Return of each output its vector, or its status and kind of error."""
    outputs = [output for case in parsed.outputs for output in case]
    if parsed.vectors is not None:
        assert all((one.status, one.embedding, one.note) == ("ok", None, None) for one in outputs)
        assert len(parsed.vectors) == len(outputs)
        return [vector.tolist() for vector in parsed.vectors]
    return [one.embedding.tolist() if one.embedding is not None else (one.status, one.error_kind) for one in outputs]


@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_each_input_gets_its_vector(count: int, *, numbers: bool) -> None:
    expected = vectors(count)
    data = entries(expected, numbers=numbers)
    for order in (data, data[::-1], data[1:] + data[:1]):
        parsed = EMBEDDINGS.parse(body_of(order), count, 1)
        assert found(parsed) == [vector.tolist() for vector in expected]
        assert (parsed.usage.prompt_tokens, parsed.usage.completion_tokens, parsed.usage.total_tokens) == (7, None, 7)
        assert (parsed.served_model, parsed.notes) == ("m", ())


def test_inputs_of_one_sample_are_its_choices() -> None:
    expected = vectors(6)
    parsed = EMBEDDINGS.parse(body_of(entries(expected)[::-1]), 2, 3)
    assert [[output.choice for output in case] for case in parsed.outputs] == [[0, 1, 2]] * 2
    assert found(parsed) == [vector.tolist() for vector in expected]


def changed(place: int, **fields: Any) -> list[dict[str, Any]]:
    data = entries(vectors(4))
    data[place] |= fields
    return data


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        (entries(vectors(4))[:3], [3]),
        (entries(vectors(4))[1:], [0]),
        (changed(2, index=1), [1, 2]),
        (changed(2, index=4), [2]),
        (changed(2, index=-1), [2]),
        (changed(2, index=None), [2]),
        (changed(2, index="2"), [2]),
        (changed(1, index=True), [1]),
        (changed(0, index=False), [0]),
        (changed(2, index=2.0), [2]),
        ([*entries(vectors(4)), {"index": 2, "embedding": "AAAA"}], [2]),
        ([{k: v for k, v in entry.items() if k != "index"} for entry in entries(vectors(4))], [0, 1, 2, 3]),
        ([*entries(vectors(4))[:3], "what", None], [3]),
    ],
)
def test_who_has_no_index_of_its_own_has_no_vector(data: list[Any], missing: list[int]) -> None:
    parsed = EMBEDDINGS.parse(body_of(data), 4, 1)
    expected = [MISSING if place in missing else vector.tolist() for place, vector in enumerate(vectors(4))]
    assert found(parsed) == expected
    assert bool(parsed.notes) == (len(data) > 4 - len(missing))


def test_more_vectors_than_inputs_are_left_out_with_a_note() -> None:
    parsed = EMBEDDINGS.parse(body_of(entries(vectors(4))), 3, 1)
    assert found(parsed) == [vector.tolist() for vector in vectors(4)[:3]]
    assert parsed.notes == ("4 embeddings for 3 inputs: 1 have no index of their own",)


def test_the_only_vector_needs_no_index() -> None:
    (vector,) = vectors(1)
    parsed = EMBEDDINGS.parse(body_of([{"embedding": as_text(vector)}]), 1, 1)
    assert found(parsed) == [vector.tolist()]


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ("", "is empty"),
        ([], "is empty"),
        (None, "there is no embedding"),
        (5, "not a list of numbers"),
        ({"float": [1.0]}, "not a list of numbers"),
        ("AAAA", "no vector of float32: 3 bytes"),
        ("?AAAAA==", "no base64"),
        ("AAAAAA", "no base64"),
        ("é", "no base64"),
        ([[1.0, 2.0]], "not a list of numbers"),
        (["1"], "not a list of numbers"),
        ([True], "not a list of numbers"),
    ],
)
def test_what_is_no_vector_fails_alone(embedding: Any, message: str) -> None:
    parsed = EMBEDDINGS.parse(body_of(changed(1, embedding=embedding)), 4, 1)
    assert found(parsed) == [("failed", "parse") if place == 1 else v.tolist() for place, v in enumerate(vectors(4))]
    assert message in (parsed.outputs[1][0].error_message or "")


@pytest.mark.parametrize(
    "odd",
    [as_text([1, np.nan, np.inf, 2, -np.inf]), [1, None, 1e39, 2.0, -(10**400)], [1.0, None, 3.5e38, 2, -1e300]],
)
def test_what_is_not_finite_is_nan_with_a_note(odd: Any) -> None:
    body = json.dumps({"data": changed(2, embedding=odd)}).encode()
    parsed = EMBEDDINGS.parse(body, 4, 1)
    assert parsed.vectors is None
    (output,) = parsed.outputs[2]
    assert output.embedding is not None
    np.testing.assert_array_equal(output.embedding, np.float32([1, np.nan, np.nan, 2, np.nan]))
    assert (output.status, output.note) == ("ok", "embedding: 3 values are not finite, and null")
    assert [case[0].note for number, case in enumerate(parsed.outputs) if number != 2] == [None] * 3


def test_literal_nan_in_a_list_is_read() -> None:
    body = body_of(changed(1, embedding=[0.5, 1.0])).replace(b"[0.5,1.0]", b"[NaN,-Infinity,0.5,1,2]")
    parsed = EMBEDDINGS.parse(body, 4, 1)
    assert parsed.outputs[1][0].note == "embedding: 2 values are not finite, and null"
    assert parsed.notes == ("body is not strict JSON",)


def test_vectors_of_different_lengths_are_all_read() -> None:
    given = [*vectors(3), np.float32([1, 2])]
    assert found(EMBEDDINGS.parse(body_of(entries(given)), 4, 1)) == [vector.tolist() for vector in given]


def test_a_text_may_hold_what_looks_like_an_embedding() -> None:
    expected = vectors(3)
    trick = 'x","embedding":"AAAA" \\"embedding\\":\\"@'
    body = body_of(entries(expected), note=trick, embedding=as_text(expected[0]))
    assert found(EMBEDDINGS.parse(body, 3, 1)) == [vector.tolist() for vector in expected]
    data = entries(expected)
    data[0]["document"] = {"text": trick, "embedding": as_text(expected[2])}
    assert found(EMBEDDINGS.parse(body_of(data), 3, 1)) == [vector.tolist() for vector in expected]
    body = body_of(data).replace(b'"embedding":', b'"embedding": "AAAA","embedding" : ', 1)
    assert found(EMBEDDINGS.parse(body, 3, 1)) == [vector.tolist() for vector in expected]


def test_escaped_slashes_are_slashes() -> None:
    expected = [np.frombuffer(b"\xff" * 20, "<f4").astype(np.float32)]
    body = body_of(entries([np.frombuffer(b"\x3f\xff\xff\x3f" * 5, "<f4")])).replace(b"/", rb"\/")
    assert np.isfinite(EMBEDDINGS.parse(body, 1, 1).outputs[0][0].embedding).all()  # type: ignore[arg-type]
    assert len(expected) == 1


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'{"data":[]}', b'{"data":{}}', b'{"data":"AAAA"}', b'{"error":{"message":"no"}}']
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"no embeddings|empty"):
        EMBEDDINGS.parse(body, 1, 1)


@given(
    st.lists(st.lists(st.floats(width=32), min_size=1, max_size=4), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_cutting_decides_nothing(values: list[list[float]], chance: Any, spaces: bool) -> None:  # noqa: FBT001 - drawn
    """However it is written, an answer gives the vectors that a plain reading of its JSON gives."""
    data = entries([np.float32(one) for one in values])
    chance.shuffle(data)
    body = json.dumps({"data": data}, indent=1 if spaces else None).encode()
    read = found(EMBEDDINGS.parse(body, len(values), 1))
    for place, one in enumerate(values):
        expected = [number if np.isfinite(number) else None for number in np.float32(one).tolist()]
        assert [number if np.isfinite(number) else None for number in read[place]] == expected


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_as_an_embedding_leave_the_others_alone(data: bytes) -> None:
    text = data.decode("latin-1")
    parsed = EMBEDDINGS.parse(body_of(changed(1, embedding=text)), 4, 1)
    others = [one for place, one in enumerate(found(parsed)) if place != 1]
    assert others == [vector.tolist() for place, vector in enumerate(vectors(4)) if place != 1]


@given(st.lists(st.binary(min_size=4, max_size=4).map(lambda one: one * 3), min_size=1, max_size=40), st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_the_block_decoder_is_the_standard_library(data: list[bytes], more: int) -> None:
    texts = [base64.b64encode(one + bytes(4 * more)) for one in data]
    matrix = decode_all(texts)
    assert matrix is not None
    assert matrix.tobytes() == b"".join(base64.b64decode(text) for text in texts)
    for vector, text in zip(matrix, texts, strict=True):
        assert decode(text.decode()).tobytes() == vector.tobytes()


@pytest.mark.parametrize("place", range(16))
@pytest.mark.parametrize("wrong", [b"=", b"-", b"\n", b"\xff", b'"', b"@"])
def test_the_block_decoder_refuses_all_else(place: int, wrong: bytes) -> None:
    sound = base64.b64encode(bytes(range(8)))  # 12 characters, the last of them padding
    texts = [sound, sound[:place] + wrong + sound[place + 1 :], sound]
    if texts[1] != sound and place < len(sound):
        assert decode_all(texts) is None


def test_a_vector_of_whole_numbers_and_a_mixed_one() -> None:
    assert vector_of([1, -2, 3]).tolist() == [1, -2, 3]
    assert vector_of([1, 2.5]).dtype == np.float32
    with pytest.raises(VectorError):
        vector_of([{}])


# ---------------------------------------------------------------- a glance


LARGE = entries(vectors(40, 256))


def test_a_glance_sees_what_parsing_sees() -> None:
    body = body_of(LARGE)
    assert EMBEDDINGS.glance is not None
    assert EMBEDDINGS.glance(body) == count_tokens(orjson.loads(body))
    first = orjson.dumps({"usage": {"prompt_tokens": 3, "total_tokens": 3}, "data": LARGE})
    assert EMBEDDINGS.glance(first) == count_tokens(orjson.loads(first))


@pytest.mark.parametrize(
    "body",
    [
        body_of(LARGE)[:-1],
        body_of(LARGE)[: len(body_of(LARGE)) // 2],
        body_of(LARGE, error={"message": "overloaded"}),
        b'{"error":{"code":502},' + body_of(LARGE)[1:],
        body_of(entries(vectors(2))),
        orjson.dumps({"data": LARGE}),
        body_of(LARGE)[: -len(b'],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}')],
        orjson.dumps({"usage": {"prompt_tokens": 3, "total_tokens": 3}, "data": LARGE})[:-2],
        body_of(LARGE) + b"\ndata: [DONE]",
        b"\xef\xbb\xbf" + body_of(LARGE),
        b"[" + body_of(LARGE) + b"]",
        orjson.dumps({"text": "x" * 40_000, "usage": {"prompt_tokens": 1, "total_tokens": 1}}),
    ],
)
def test_a_glance_leaves_what_is_doubtful_to_parsing(body: bytes) -> None:
    assert EMBEDDINGS.glance is not None
    assert EMBEDDINGS.glance(body) is None


@pytest.mark.parametrize(
    ("content", "count"), [("a", 1), ([1, 2], 1), (["a", "b"], 2), ([[1], [2], [3]], 3), ([], 1), (None, 1)]
)
def test_how_many_vectors_a_body_asks_for(content: Any, count: int) -> None:
    assert EMBEDDINGS.choices_wanted({"input": content}) == count
