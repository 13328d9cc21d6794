"""Whole runs against llama.cpp's own server: what lands in Parquet is what that server said, to float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

import runner
from tests.support.runs import questions, table, write_rows

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

SAMPLES = 6


def run_on(model: str, tmp_path: Path) -> list[dict[str, Any]]:
    """Run a few questions with log probabilities, and return the rows with the server's own answer beside each."""
    run_dir = run(model, tmp_path, tmp_path / "plain")
    raw = {row["request_key"]: orjson.loads(row["response"]) for row in table(run_dir, "raw")}
    return [{**row, "said": raw[row["request_key"]]["choices"][0]} for row in table(run_dir)]


def run(model: str, tmp_path: Path, run_dir: Path, *, stream: bool = False, **params: Any) -> Path:
    """Run a few questions, one at a time, and return the run's folder."""
    rows = [{**row, "question": row["question"] + " Answer in one word."} for row in questions(SAMPLES)]
    config = {
        "name": "real",
        "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", rows)), "id": "id", "target": "answer"},
        "model": {"embedded": model},
        "request": {
            "messages": [{"role": "user", "content": "{{ question }}"}],
            "params": {"temperature": 0, "seed": 1, "max_tokens": 8, "logprobs": True, "top_logprobs": 5, **params},
            "stream": stream,
        },
        "limits": {"max_in_flight": 1},  # what is computed together differs in the last digits
        "output": {"dir": str(tmp_path / "outputs")},
    }
    summary = runner.run(config, run_dir=run_dir)
    assert (summary.status, summary.failed, sum(summary.by_status.values())) == (
        "complete",
        0,
        SAMPLES * params.get("n", 1),
    )
    return run_dir


def check_logprobs(row: dict[str, Any]) -> None:
    entries = row["said"]["logprobs"]["content"]
    assert row["tokens"] == [entry["token"] for entry in entries]
    assert row["token_bytes"] == [bytes(entry["bytes"]) for entry in entries]
    assert row["token_logprobs"] == [float(np.float32(entry["logprob"])) for entry in entries]
    assert row["top_tokens"] == [[top["token"] for top in entry["top_logprobs"]] for entry in entries]
    assert row["top_logprobs"] == [
        [float(np.float32(top["logprob"])) for top in entry["top_logprobs"]] for entry in entries
    ]
    # The server joins the byte tokens of one character into one entry.
    assert 0 < len(entries) <= row["completion_tokens"]


def test_smollm2_tokens_join_to_its_text(installed_weights: str, tmp_path: Path) -> None:
    for row in run_on(installed_weights, tmp_path):
        check_logprobs(row)
        assert row["text"]
        assert "".join(row["tokens"]).removesuffix("<|im_end|>").strip() == row["text"].strip()
        assert (row["model"], row["server"]) == ("smollm2-135m", "embedded:smollm2-135m")


def test_tiny_random_models_token_bytes_join_to_its_text(tiny_gguf: Path, tmp_path: Path) -> None:
    for row in run_on(str(tiny_gguf), tmp_path):
        check_logprobs(row)
        joined = b"".join(row["token_bytes"])
        # Random bytes need not be text: the server shows what is none as U+FFFD.
        assert joined.decode("utf-8", "replace").strip() == row["text"].strip()


PARAMS = [{}, {"logprobs": False, "top_logprobs": None}, {"n": 2}, {"max_tokens": 40}]
# What two answers of one request never have in common.
OWN = {"started_at", "finished_at", "queued_s", "latency_s", "first_token_s", "created", "response_id"}
BY_TOKEN = ("tokens", "token_bytes", "token_logprobs", "top_tokens", "top_logprobs")


def both_ways(model: str, tmp_path: Path, params: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Run without and with streaming; return the rows of both but for what is their own."""
    found = []
    for stream in (False, True):
        run_dir = run(model, tmp_path, tmp_path / f"stream-{stream}", stream=stream, **params)
        rows = sorted(table(run_dir), key=lambda row: (row["sample_id"], row["choice"]))
        assert all(not stream or 0 < row["first_token_s"] <= row["latency_s"] for row in rows)
        found.append([{name: row[name] for name in row.keys() - OWN} for row in rows])
    return found


def check_both_ways(model: str, tmp_path: Path, params: dict[str, Any]) -> None:
    """The server streams no chunk for a token without text (the end, half a character): all else is compared."""
    without, streamed = both_ways(model, tmp_path, params)
    for row in without:
        shown = [place for place, data in enumerate(row["token_bytes"] or ()) if data]
        for name in BY_TOKEN:
            row[name] = None if row[name] is None else [row[name][place] for place in shown]
    assert streamed == without


@pytest.mark.parametrize("params", PARAMS)
def test_a_streamed_answer_of_smollm2_is_the_row_it_is_without_streaming(
    installed_weights: str, tmp_path: Path, params: dict[str, Any]
) -> None:
    check_both_ways(installed_weights, tmp_path, params)


@pytest.mark.parametrize("params", PARAMS)
def test_a_streamed_answer_of_random_bytes_is_the_row_it_is_without_streaming(
    tiny_gguf: Path, tmp_path: Path, params: dict[str, Any]
) -> None:
    check_both_ways(str(tiny_gguf), tmp_path, params)
