"""Rows as JSON Lines and CSV: every value survives, none of them acts."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runner
from runner.errors import RunFolderError, UsageError
from runner.export import Export, write_to_file, write_to_stream
from runner.export.csvtext import MARK, cell, inert_text
from runner.export.jsonl import as_line
from runner.sinks.plain import plain_values
from tests.support.runs import config_for, questions, table, write_rows
from tests.support.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 8
HOSTILE = ["=1+1", "-1.5", "\t=x", 'a,"b"\r\nc', "", " ", "'quoted", "\uff1dSUM(A1)", "\x1b[2J\x00", "plain"]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
RISKY = st.lists(
    st.sampled_from(list("=+-@\t\r\n '\"\u00a0\ufeff\u200b\uff0b\uff1d\ufe62\u2212\x00\x0b\x85a1")), max_size=8
).map("".join)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with log probabilities, scores, a failure, and hostile texts in kept columns."""
    folder = tmp_path_factory.mktemp("run")
    rows = [
        row | {"note": HOSTILE[number % len(HOSTILE)], "size": -1.5} for number, row in enumerate(questions(SAMPLES))
    ]
    rows[2]["question"] += " [[fault:400]]"
    with serving() as simulator:
        params = {"logprobs": True, "top_logprobs": 2}
        config = config_for(simulator, write_rows(folder / "d.jsonl", rows), request={"params": params})
        runner.run(config | {"scorers": [{"name": "includes"}]}, run_dir=folder / "run")
    return folder / "run"


def exported(run_dir: Path, form: str, *columns: str) -> bytes:
    stream = io.BytesIO()
    write_to_stream(Export(run_dir, form, columns), stream)
    return stream.getvalue()


def test_json_lines_have_every_column_of_every_row(run_dir: Path) -> None:
    rows = [orjson.loads(line) for line in exported(run_dir, "jsonl").split(b"\n")[:-1]]
    frame = runner.load(run_dir)
    assert list(rows[0]) == list(frame.columns)
    assert "score_includes" in rows[0]
    for row, there in zip(rows, table(run_dir), strict=True):
        for name in ("key", "text", "status", "choice", "latency_s", "tokens", "top_tokens", "in_note", "in_size"):
            assert row[name] == there[name]
        if there["status"] == "ok":
            assert datetime.fromisoformat(row["started_at"]) == there["started_at"]
            assert row["started_at"].endswith("Z")
            assert [bytes(one) for one in row["token_bytes"]] == there["token_bytes"]
            assert np.float32(row["token_logprobs"]).tolist() == there["token_logprobs"]
            assert [np.float32(one).tolist() for one in row["top_logprobs"]] == there["top_logprobs"]


def test_columns_come_as_they_are_asked_for_and_an_unknown_one_is_said(run_dir: Path) -> None:
    assert list(orjson.loads(exported(run_dir, "jsonl", "text", "key", "text").split(b"\n")[0])) == ["text", "key"]
    assert exported(run_dir, "csv", "choice").split(b"\r\n")[:2] == [b"choice", b"0"]
    with pytest.raises(RunFolderError, match="no column txet") as caught:
        exported(run_dir, "csv", "txet")
    assert "did you mean text?" in caught.value.hint


def test_csv_reads_back_as_what_the_rows_are(run_dir: Path) -> None:
    lines = list(csv.reader(io.StringIO(exported(run_dir, "csv").decode(), newline="")))
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    for row, there in zip(rows, table(run_dir), strict=True):
        assert row["in_size"] == "-1.5", "a number stays a number"
        assert row["in_note"].removeprefix(MARK) == inert_text(there["in_note"]).removeprefix(MARK)
        assert orjson.loads(row["tokens"] or "null") == there["tokens"]
        assert row["in_level"] == str(there["in_level"])
    frame = pd.read_csv(io.BytesIO(exported(run_dir, "csv", "sample_id", "in_size", "score_includes")))
    assert frame.dtypes.astype(str).tolist()[1:] == ["float64", "float64"]
    assert frame["score_includes"].isna().sum() == 1


@given(ANY_TEXT | RISKY)
def test_any_text_survives_json_lines_and_stays_on_its_line(text: str) -> None:
    line = as_line({"text": text})
    assert orjson.loads(line) == {"text": text}
    assert len(line.decode().splitlines()) == 1
    assert not any(unicodedata.category(one) == "Cc" for one in line.decode()[:-1])


@given(st.lists(ANY_TEXT | RISKY, min_size=1, max_size=4))
def test_any_text_is_found_in_csv_again_and_none_of_them_acts(texts: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(",".join(map(cell, texts)) + "\r\n", newline=""))
    for text, found in zip(texts, read, strict=True):
        controls = (unicodedata.category(one) == "Cc" and one not in "\t\r\n" for one in text)
        marks = ("\u202a" <= one <= "\u202e" or "\u2066" <= one <= "\u2069" for one in text)
        expected = "".join(
            "\ufffd" if control or mark else one for one, control, mark in zip(text, controls, marks, strict=True)
        )
        assert found.removeprefix(MARK) == expected
        seen = unicodedata.normalize("NFKC", found.strip().lstrip('"\u200b\ufeff\ufffd\u00a0 '))
        assert not seen.startswith(("=", "+", "-", "@", "\u2212"))
        assert not found.startswith(("\t", "\r", "\n"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (math.nan, ""),
        ("", '""'),
        (-1.5, "-1.5"),
        (-3, "-3"),
        (True, "true"),
        ("-1.5", "'-1.5"),
        ("'tis", "''tis"),
        (" =1", "' =1"),
        ("a b", "a b"),
        (date(2026, 11, 28), "2026-11-28"),
        (datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC), "2026-11-28T01:02:03Z"),
        ([None, 1.5, "=x"], '"[null,1.5,""=x""]"'),
    ],
)
def test_cells(value: Any, expected: str) -> None:
    assert cell(value) == expected


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.list_(pa.float32()), [[1.5, None], None, []]),
        (pa.list_(pa.list_(pa.float32())), [[[0.1], []], None, [None]]),
        (pa.list_(pa.list_(pa.string())), [[["a"], ["b", None]], None]),
        (pa.list_(pa.struct([("rank", pa.int32()), ("score", pa.float64())])), [[{"rank": 1, "score": 0.5}], None]),
    ],
)
def test_nested_values_of_any_slice(kind: pa.DataType, values: list[Any]) -> None:
    column = pa.array([*values, *values], kind).slice(1, len(values))
    shown = orjson.loads(as_line({"v": plain_values(column)}))["v"]
    assert shown == orjson.loads(orjson.dumps([*values, *values][1 : 1 + len(values)]))
    assert plain_values(pa.array([[b"\xff", None]], pa.list_(pa.binary()))) == [[[255], None]]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst"])
def test_a_file_is_there_whole_and_compressed_as_it_is_called(run_dir: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_text("before")
    assert write_to_file(Export(run_dir, "jsonl"), target) == SAMPLES
    read = pa.input_stream(str(target)).read()  # by its name, too
    assert read == exported(run_dir, "jsonl")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_that_cannot_be_completed_leaves_what_was_there(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "rows.jsonl"
    target.write_text("before")
    with pytest.raises(RunFolderError):
        write_to_file(Export(run_dir, "jsonl", ("nothing",)), target)
    with pytest.raises(UsageError, match="is a folder"):
        write_to_file(Export(run_dir, "jsonl"), tmp_path)

    def broken(*_: object) -> Any:
        yield b"first\n"
        raise RunFolderError("no more")

    monkeypatch.setitem(write_to_file.__globals__["_LINES"], "jsonl", broken)
    with pytest.raises(RunFolderError, match="no more"):
        write_to_file(Export(run_dir, "jsonl"), target)
    assert (target.read_text(), [path.name for path in tmp_path.iterdir()]) == ("before", ["rows.jsonl"])
