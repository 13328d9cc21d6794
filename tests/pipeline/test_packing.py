"""Packing as a pure function: limits, keys, and requests that are taken apart again."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.config import config_from_dict
from runner.pipeline.requests.cases import CaseColumns
from runner.pipeline.requests.fingerprint import RequestBuilder, Row, RowReader
from runner.pipeline.requests.loose import LooseBuilder
from runner.pipeline.requests.packing import (
    MOST_ANSWER_BYTES,
    Loose,
    Packer,
    PackLimits,
    count_tokens,
    limits_of,
    single_out,
    take_apart,
    without_encoding,
)
from runner.pipeline.requests.prepare import prepare
from runner.records import Request, Wrapping
from tests.support.runs import questions, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner.pipeline.requests.fingerprint import RequestPlan

AROUND = Wrapping(b'{"encoding_format":"base64","input":', b',"model":"m"}', b'{"input":')
# As an adapter has it, whose body holds an array even of one input.
ARRAY = Wrapping(b'{"input":', b',"model":"m"}', always_array=True)


def loose(contents: list[Any], first: int = 0, wrapping: Wrapping = AROUND) -> Loose:
    texts = [orjson.dumps(content) for content in contents]
    count, keys = len(texts), [number.to_bytes(16, "big") for number in range(first, first + len(texts))]
    ids = [f"s{key.hex()[-4:]}" for key in keys]
    cases = CaseColumns(keys, ids, [0] * count, keys[:], [1] * count, [None] * count, {}, list(map(len, texts)))
    return Loose(cases, texts, "/embeddings", 1, wrapping)


def pack(contents: list[Any], limits: PackLimits | None = None, wrapping: Wrapping = AROUND) -> list[Request]:
    packer = Packer(limits or PackLimits())
    return [*packer.add(loose(contents, wrapping=wrapping)), *packer.flush()]


def inputs(request: Request) -> list[Any]:
    content = orjson.loads(request.body)["input"]
    in_array = len(request.cases) > 1 or (request.wrapping is not None and request.wrapping.always_array)
    return content if in_array else [content]


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        (PackLimits(inputs=4), [4, 4, 2]),
        (PackLimits(inputs=1), [1] * 10),
        (PackLimits(inputs=100), [10]),
        (PackLimits(tokens=12), [3, 3, 3, 1]),  # each of them is estimated at 4
        (PackLimits(size_bytes=50), [4, 4, 2]),  # each takes 12 with its quotes and comma
        (PackLimits(tokens=1), [1] * 10),
        (PackLimits(size_bytes=1), [1] * 10),
    ],
)
def test_a_pack_stays_within_its_limits(limits: PackLimits, sizes: list[int]) -> None:
    packs = pack(["123456789"] * 10, limits)
    assert [len(one.cases) for one in packs] == sizes
    assert [text for one in packs for text in inputs(one)] == ["123456789"] * 10


@given(
    st.lists(st.lists(st.text(max_size=30), max_size=9), max_size=6),
    st.integers(1, 7),
    st.integers(1, 60),
    st.integers(1, 200),
)
@settings(max_examples=200, deadline=None)
def test_packs_hold_everything_once_and_in_order(
    batches: list[list[str]], most: int, tokens: int, size_bytes: int
) -> None:
    limits = PackLimits(most, tokens, size_bytes)
    packer, packs, first = Packer(limits), [], 0
    for batch in batches:
        packs += packer.add(loose(batch, first))
        first += len(batch)
    packs += packer.flush()
    texts = [text for batch in batches for text in batch]
    assert [text for one in packs for text in inputs(one)] == texts
    assert [case.key for one in packs for case in one.cases] == [n.to_bytes(16, "big") for n in range(first)]
    for one in packs:
        contents = [orjson.dumps(text) for text in inputs(one)]
        assert 1 <= len(contents) <= most
        if len(contents) > 1:
            assert sum(map(count_tokens, contents)) <= tokens
            assert sum(len(content) + 1 for content in contents) <= size_bytes
    # No pack goes out that had room for the first of the next.
    for one, following in itertools.pairwise(packs):
        contents = [orjson.dumps(text) for text in [*inputs(one), inputs(following)[0]]]
        fits = sum(map(count_tokens, contents)) <= tokens and sum(len(c) + 1 for c in contents) <= size_bytes
        assert len(one.cases) == most or not fits
    assert packer.flush() == []


def test_texts_and_token_ids_never_share_an_array() -> None:
    packs = pack(["a", [1, 2], "b", [3], "c"])
    assert sorted(map(inputs, packs), key=len) == [[[1, 2], [3]], ["a", "b", "c"]]


def test_what_stands_around_the_inputs_is_the_same_for_a_pack() -> None:
    packer = Packer(PackLimits())
    other = replace(AROUND, after=b',"model":"n"}')
    assert packer.add(loose(["a"])) == packer.add(loose(["b"], 1, other)) == packer.add(loose(["c"], 2)) == []
    assert sorted(inputs(one) for one in packer.flush()) == [["a", "c"], ["b"]]


def test_few_packs_are_filled_at_a_time() -> None:
    packer, ready = Packer(PackLimits()), []
    for number in range(100):
        ready += packer.add(loose(["a"], number, replace(AROUND, after=b"%d}" % number)))
    assert len(ready) == 68
    assert len(packer.flush()) == 32


def test_a_pack_has_a_key_of_its_own_and_one_sample_keeps_its_own() -> None:
    whole, again, other = pack(["a", "b"])[0], pack(["a", "b"])[0], pack(["a", "b", "c"])[0]
    assert whole.key == again.key
    assert len({whole.key, other.key, *(case.key for case in other.cases)}) == 5
    (single,) = pack(["a"])
    assert single.key == single.cases[0].key
    assert single.body == b'{"encoding_format":"base64","input":"a","model":"m"}'
    (in_array,) = pack(["a"], wrapping=ARRAY)
    assert (in_array.key, in_array.body) == (single.key, b'{"input":["a"],"model":"m"}')


@pytest.mark.parametrize("limits", [PackLimits(inputs=1), PackLimits(inputs=4)])
def test_a_pack_says_what_its_answers_may_take(limits: PackLimits) -> None:
    wrapping = Wrapping(b'{"input":', b"}", answer_tokens=16, unbounded=True)
    packs = pack(["some text"] * 6, limits, wrapping)
    for one in [*packs, *(part for whole in packs for part in take_apart(whole, [1] * len(whole.cases)))]:
        assert (one.answer_tokens, one.unbounded) == (16 * len(one.cases), True)
        assert one.reserve_tokens > one.answer_tokens


@given(st.lists(st.text(max_size=12), min_size=2, max_size=12), st.sampled_from([AROUND, ARRAY]), st.data())
@settings(max_examples=200, deadline=None)
def test_a_pack_taken_apart_is_the_packs_of_its_parts(texts: list[str], wrapping: Wrapping, data: Any) -> None:
    (whole,) = pack(texts, wrapping=wrapping)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(texts) - 1))))
    sizes = [end - start for start, end in zip([0, *cuts], [*cuts, len(texts)], strict=True)]
    parts = take_apart(whole, sizes)
    assert [inputs(part) for part in parts] == [
        texts[start:end] for start, end in zip([0, *cuts], [*cuts, len(texts)], strict=True)
    ]
    assert [case for part in parts for case in part.cases] == list(whole.cases)
    for part in parts:
        again = Packer(PackLimits())
        first = int.from_bytes(part.cases[0].key, "big")
        again.add(loose(inputs(part), first, wrapping))
        assert replace(again.flush()[0], cases=()) == replace(part, cases=())
    place = data.draw(st.integers(0, len(texts) - 1))
    single, rest = single_out(whole, place)
    assert inputs(single) == [texts[place]]
    assert inputs(rest) == texts[:place] + texts[place + 1 :]
    assert [case.key for case in rest.cases] == [c.key for n, c in enumerate(whole.cases) if n != place]
    if len(rest.cases) > 1:
        assert [inputs(half) for half in take_apart(rest, [1, len(rest.cases) - 1])] == [
            inputs(rest)[:1],
            inputs(rest)[1:],
        ]


def test_without_the_encoding_a_request_is_the_same_but_for_that() -> None:
    for texts in (["a"], ["a", "b"]):
        (whole,) = pack(texts)
        plain = without_encoding(whole)
        asked = orjson.loads(whole.body)
        assert asked.pop("encoding_format") == "base64"
        assert (orjson.loads(plain.body), plain.key) == (asked, whole.key)
        assert without_encoding(plain) is plain
    assert [inputs(half) for half in take_apart(plain, [1, 1])] == [["a"], ["b"]]


def test_what_is_no_pack_is_not_taken_apart() -> None:
    with pytest.raises(ValueError, match="cannot be taken apart"):
        take_apart(Request(b"", "/", b"", (), 1, 0), [1])
    with pytest.raises(ValueError, match="not all"):
        take_apart(pack(["a", "b"])[0], [1])


# ---------------------------------------------------------------- cases of rows


def plan_of(tmp_path: Path, rows: list[dict[str, Any]], request: dict[str, Any], **dataset: Any) -> RequestPlan:
    path = write_rows(tmp_path / "data.jsonl", rows)
    values = {
        "name": "t",
        "dataset": {"path": str(path), "id": "id", "target": "answer", **dataset},
        "model": {"base_url": "http://127.0.0.1:1/v1", "name": "m"},
        "request": request,
    }
    return prepare(config_from_dict(values, tmp_path)).plan


@pytest.mark.parametrize(
    "request_",
    [
        {"endpoint": "embeddings", "input": "{{ question }}"},
        {"endpoint": "embeddings", "input": "Q: {{ question }} é", "params": {"dimensions": 3, "user": "u"}},
        {"endpoint": "embeddings", "input": "{{ question }}", "params": {"encoding_format": "float"}},
        {"endpoint": "embeddings", "input": "{{ question }}", "params": {"user": "{{ level }}"}, "repeats": 2},
        {"endpoint": "embeddings", "input": [1, 2, 3]},
        {"endpoint": "embeddings", "input": ["{{ question }}", "{{ answer }}"]},
        {"endpoint": "completions", "prompt": "{{ question }}", "batch_size": 4, "params": {"n": 2, "seed": 5}},
        {
            "endpoint": "completions",
            "prompt": "{{ question }}",
            "batch_size": 4,
            "repeats": 3,
            "params": {"seed": 5, "max_tokens": 3},
        },
        {"endpoint": "completions", "prompt": "{{ question|upper }}", "batch_size": 2, "repeats": 2},
        {"endpoint": "completions", "prompt": ["{{ question }}", "{{ answer }}"], "batch_size": 2},
    ],
)
@pytest.mark.parametrize("dataset", [{}, {"keep": ["level"]}, {"id": None}, {"target": None}])
def test_keys_and_digests_are_those_of_unpacked_requests(
    request_: dict[str, Any], dataset: dict[str, Any], tmp_path: Path
) -> None:
    rows = questions(5)
    rows[2]["level"] = None
    rows[4]["question"] = rows[1]["question"]
    plan = plan_of(tmp_path, rows, request_, **dataset)
    assert plan.packing is not None
    reader, alone, packed = RowReader(plan), RequestBuilder(plan), LooseBuilder(plan, plan.packing)
    occurrences = [0, 0, 0, 0, 1]
    made: list[Request] = []
    packer = Packer(PackLimits(inputs=1))
    for row, occurrence in zip(rows, occurrences, strict=True):
        content, carry = reader.read(row)
        for one in packed.build(Row(row, content, carry, occurrence)):
            made += packer.add(one) if isinstance(one, Loose) else [one]
    expected = [
        request
        for row, occurrence in zip(rows, occurrences, strict=True)
        for request in alone.build(Row(row, *reader.read(row), occurrence))
    ]
    assert [one.key for one in made] == [one.key for one in expected]
    assert [without_encoding(one).body for one in made] == [one.body for one in expected]
    assert [one.choices for one in made] == [one.choices for one in expected]
    for one, other in zip(made, expected, strict=True):
        case = one.cases[0]
        assert case.input_bytes == len(orjson.dumps(orjson.loads(one.body)[plan.endpoint.field]))
        assert replace(case, input_bytes=0) == other.cases[0]
    check_batches(plan, packed, rows, occurrences)


ADAPTER: dict[str, Any] = {
    "endpoints": ["embeddings"],
    "path": "/embed",
    "capabilities": {"array_input": True},
    "params": {"rename": {"user": "who"}, "defaults": {"kind": "passage"}},
    "body": {"$merge": "{{ params }}", "z": {"in": "{{ input }}"}},
    "response": {"embeddings": {"list": "data"}},
}


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        ({"input": "{{ question }}"}, {}),
        ({"input": "Q: {{ question }} é", "params": {"user": "u"}, "extra_body": {"trace": 1}}, {}),
        ({"input": "{{ question }}", "params": {"user": "{{ level }}", "seed": 3}, "repeats": 2}, {}),
        ({"input": "{{ question }}"}, {"level": "{{ row.level }}"}),
        ({"input": "{{ question|upper }}"}, {"joined": "{{ model }} {{ row.answer }}"}),
        ({"input": [1, 2, 3]}, {}),
        ({"input": ["{{ question }}", "{{ answer }}"]}, {}),
    ],
)
def test_an_adapters_packs_of_one_are_its_unpacked_requests(
    request_: dict[str, Any], body: dict[str, Any], tmp_path: Path
) -> None:
    rows = questions(5)
    (tmp_path / "mine.yaml").write_bytes(orjson.dumps({**ADAPTER, "body": {**ADAPTER["body"], **body}}))
    values = {
        "name": "t",
        "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", rows)), "id": "id", "target": "answer"},
        "model": {"base_url": "http://127.0.0.1:1/v1", "name": "m", "adapter": str(tmp_path / "mine.yaml")},
        "request": {"endpoint": "embeddings", **request_},
    }
    plan = prepare(config_from_dict(values, tmp_path)).plan
    assert plan.packing is not None
    reader, packed, packer = RowReader(plan), LooseBuilder(plan, plan.packing), Packer(PackLimits(inputs=1))
    made: list[Request] = []
    expected: list[Request] = []
    for row in rows:
        own = Row(row, *reader.read(row), 0)
        expected += RequestBuilder(plan).build(own)
        for one in packed.build(own):
            made += packer.add(one) if isinstance(one, Loose) else [one]
    assert [(one.key, one.body, one.path, one.choices) for one in made] == [
        (one.key, one.body, one.path, one.choices) for one in expected
    ]
    assert [replace(one.cases[0], input_bytes=0) for one in made] == [one.cases[0] for one in expected]
    check_batches(plan, packed, rows, [0] * len(rows))


def check_batches(plan: RequestPlan, packed: LooseBuilder, rows: list[Any], occurrences: list[int]) -> None:
    """Compare what is built of a batch with what is built row by row."""
    reader = RowReader(plan)
    batch = packed.build_all(reader, rows, occurrences)
    if batch is None:
        return
    each = [packed.build(Row(row, *reader.read(row), n)) for row, n in zip(rows, occurrences, strict=True)]
    for repeat, loose_ in enumerate(batch):
        singles = [made[repeat] for made in each]
        assert loose_.cases.keys == [one.cases[0].key for one in singles]
        assert list(loose_.cases) == [one.cases[0] for one in singles]
        assert [loose_.wrapping] * len(singles) == [one.wrapping for one in singles]


def test_a_batch_of_rows_is_built_at_once_where_that_is_possible(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, questions(5), {"endpoint": "embeddings", "input": "{{ question }}"})
    assert plan.packing is not None
    build, reader = LooseBuilder(plan, plan.packing).build_all, RowReader(plan)
    assert build(reader, questions(5), None) is not None
    for odd in ({"question": ["a", "b"]}, {"question": None}, {"question": 5}, {"id": ""}, {"id": 2.5}, {"new": 1}):
        assert build(reader, [*questions(4), {**questions(5)[4], **odd}], None) is None
    missing = {key: value for key, value in questions(1)[0].items() if key != "question"}
    assert build(reader, [*questions(4), {**missing, "other": 1}], None) is None


@pytest.mark.parametrize(
    ("request_", "limits"),
    [
        ({"endpoint": "embeddings"}, PackLimits(answer_bytes=MOST_ANSWER_BYTES)),
        ({"endpoint": "embeddings", "batch_size": 1}, PackLimits(inputs=1)),
        ({"endpoint": "embeddings", "batch_size": 9}, PackLimits(inputs=9)),
        ({"endpoint": "completions"}, None),
        ({"endpoint": "completions", "batch_size": 1}, None),
        ({"endpoint": "completions", "batch_size": 9}, PackLimits(inputs=9)),
        ({"endpoint": "chat", "batch_size": 9}, None),
    ],
)
def test_who_packs(request_: dict[str, Any], limits: PackLimits | None, tmp_path: Path) -> None:
    from runner.endpoints import ENDPOINTS  # noqa: PLC0415 - beside its only use

    values = {
        "name": "t",
        "dataset": {"path": "d.jsonl"},
        "model": {"base_url": "http://a/v1", "name": "m"},
        "request": request_,
    }
    config = config_from_dict(values, tmp_path)
    assert limits_of(config, ENDPOINTS[request_["endpoint"]]) == limits
    slow = config_from_dict({**values, "limits": {"tokens_per_minute": 1000}}, tmp_path)
    found = limits_of(slow, ENDPOINTS[request_["endpoint"]])
    assert found is None if limits is None else found == replace(limits, tokens=1000)
