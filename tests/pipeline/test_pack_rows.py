"""Packs made columns at once: exactly what the plain path makes of the same records, whatever the samples hold."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.endpoints import ENDPOINTS
from runner.folder.layout import TABLES, RunFolder
from runner.pipeline.requests.cases import CaseColumns, PackedCases, case_keys, case_rows, count_cases, input_bytes
from runner.pipeline.storing import packrows
from runner.pipeline.storing.codec import encode_record, read_meta, split_payload
from runner.pipeline.storing.dimension import Dimension
from runner.pipeline.storing.packrows import is_whole_pack, pack_columns
from runner.pipeline.storing.reading import RowContext, parse_record
from runner.pipeline.storing.rowgroup import RowGroup
from runner.pipeline.storing.rows import group_columns
from runner.prices import Price
from runner.records import Attempt, Record, Request, Response
from runner.sinks import table_schema
from runner.sinks.columns import array_of

if TYPE_CHECKING:
    from pathlib import Path

    from runner.pipeline.storing.rows import GroupColumns

KINDS = {"level": "int64", "score": "double", "label": "string", "meta": "json", "flag": "bool"}
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5), st.lists(st.integers(0, 9), max_size=2),
)  # fmt: skip
SAMPLES = st.lists(
    st.tuples(st.dictionaries(st.sampled_from([*KINDS, "other"]), VALUES), st.none() | st.text(), st.integers(0, 99)),
    min_size=2,
    max_size=12,
)


def columns_of(samples: list[Any], *, mixed: bool) -> CaseColumns:
    """Return cases as a packer puts them together: from batches of rows that are alike, or one by one."""
    cases = CaseColumns.empty()
    for number, (kept, target, size) in enumerate(samples):
        key = number.to_bytes(16, "big")
        values = {
            name: [orjson.Fragment(orjson.dumps(str(value)) if mixed else _json(value))] for name, value in kept.items()
        }
        cases.add(CaseColumns([key], [f"s{number}"], [0], [key[::-1]], [number], [target], values, [size]))
    return cases


def _json(value: Any) -> bytes:
    return str(value).encode() if type(value) is int else orjson.dumps(value)


def payload_of(cases: CaseColumns, *, dimensions: int = 3, usage: dict[str, int] | None = None) -> bytes:
    vectors = np.arange(len(cases) * dimensions, dtype="<f4").reshape(len(cases), dimensions)
    data = [
        {"object": "embedding", "index": index, "embedding": base64.b64encode(vector.tobytes()).decode()}
        for index, vector in enumerate(vectors)
    ]
    answer = {"data": data, "model": "m-1", "id": "r", "usage": usage or {}, "created": 1_700_000_000}
    body = orjson.dumps({**answer, "filler": "x" * 40_000})  # of short answers each entry is looked at
    request = Request(b"k" * 16, "/embeddings", b'{"input":["a"]}', PackedCases.of(cases), 1, 9)
    last = Attempt(request.key, 1, len(cases), 1_700_000_000.25, 0.5, 200, None, None, "req-1")
    response = Response(200, {"x-request-id": "req-1"}, body, 1_700_000_000.25, 0.5)
    return b"".join(encode_record(Record(request, response, None, 1, 1.0, 2.0, 0.25, last), 3, "http://a"))


def context_of(folder: Path, *, price: Price | None = None, keep_raw: bool = True) -> RowContext:
    return RowContext(ENDPOINTS["embeddings"], "m", price, KINDS, keep_raw, Dimension(RunFolder(folder), 3))


def both_ways(payload: bytes, context: RowContext) -> tuple[GroupColumns, GroupColumns]:
    raw = split_payload(payload)
    ended = read_meta(raw[0])
    reading = parse_record(ended, raw[1:], context)
    assert is_whole_pack(ended, reading)
    group = RowGroup()
    group.add(ended, reading, raw)
    return pack_columns(ended, reading, raw, context), group_columns(group, context)


def tables_of(made: GroupColumns) -> dict[str, pa.Table]:
    tables = {}
    for table in TABLES:
        columns = getattr(made, table)
        rows = next(map(len, columns.values()), 0)
        schema = table_schema(table, KINDS, {})
        arrays = [
            array_of(columns[field.name], field.type) if field.name in columns else pa.nulls(rows, field.type)
            for field in schema
        ]
        tables[table] = pa.Table.from_arrays(arrays, schema=schema)
        tables[table].validate(full=True)
    return tables


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packrows, "_FEWEST_CASES", 2)


@given(
    SAMPLES,
    st.booleans(),
    st.sampled_from([None, {"prompt_tokens": 17, "total_tokens": 17}, {"prompt_tokens": 2**64 - 1, "total_tokens": 4}]),
    st.sampled_from([None, Price(0.1, 0.2)]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pack_is_the_same_rows_both_ways(  # noqa: PLR0913, PLR0917 - all that rows depend on, drawn
    tmp_path: Path,
    samples: list[Any],
    mixed: bool,  # noqa: FBT001 - drawn
    usage: dict[str, int] | None,
    price: Price | None,
    keep_raw: bool,  # noqa: FBT001 - drawn
) -> None:
    payload = payload_of(columns_of(samples, mixed=mixed), usage=usage)
    fast, plain = both_ways(payload, context_of(tmp_path, price=price, keep_raw=keep_raw))
    assert tables_of(fast) == tables_of(plain)
    assert (fast.index, fast.totals) == (plain.index, plain.totals)


def test_what_is_no_whole_pack_is_left_to_the_plain_path(tmp_path: Path) -> None:
    cases = columns_of([({}, None, 1)] * 4, mixed=False)
    for payload in (payload_of(cases, dimensions=5), payload_of(cases[:1])):  # vectors of another length; one case
        meta, *bodies = split_payload(payload)
        ended = read_meta(meta)
        assert not is_whole_pack(ended, parse_record(ended, (bodies[0], bodies[1]), context_of(tmp_path)))


@given(SAMPLES)
@settings(max_examples=100, deadline=None)
def test_cases_come_back_from_the_journal(samples: list[Any]) -> None:
    cases = columns_of(samples, mixed=False)
    packed = PackedCases.of(cases)
    listed = orjson.loads(packed.json)
    assert len(packed) == count_cases(listed) == len(samples)
    assert case_keys(listed) == [key.hex() for key in cases.keys]
    assert input_bytes(listed) == cases.sizes
    for case, row in zip(packed.columns(), case_rows(listed), strict=True):
        assert row == orjson.loads(PackedCases.of(CaseColumns.single(case, orjson.loads(case.columns))).json)[0]
    assert [one.json for one in PackedCases.each(cases)] == [
        PackedCases.of(cases[place : place + 1]).json for place in range(len(cases))
    ]
    assert list(packed.columns()) == list(PackedCases.of(packed.columns()).columns())
    assert [packed[place].sample_id for place in range(len(packed))] == cases.sample_ids


def test_what_is_nested_too_deeply_for_one_json_text_is_written_all_the_same() -> None:
    deep: Any = 2**80
    for _ in range(252):
        deep = [deep]
    cases = CaseColumns(
        [b"a" * 16] * 2, ["a", "b"], [0, 0], [b"b" * 16] * 2, [1, 1], [None] * 2, {"x": [deep, 1]}, [1, 1]
    )
    assert orjson.loads(PackedCases.of(cases).json)["columns"]["x"][1] == 1
    assert PackedCases.of(cases[:1])[0].columns.startswith(b'{"x":[[[')
