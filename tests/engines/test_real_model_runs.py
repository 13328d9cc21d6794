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
    rows = [{**row, "question": row["question"] + " Answer in one word."} for row in questions(SAMPLES)]
    config = {
        "name": "real",
        "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", rows)), "id": "id", "target": "answer"},
        "model": {"embedded": model},
        "request": {
            "messages": [{"role": "user", "content": "{{ question }}"}],
            "params": {"temperature": 0, "seed": 1, "max_tokens": 8, "logprobs": True, "top_logprobs": 5},
        },
        "limits": {"max_in_flight": 2},
        "output": {"dir": str(tmp_path / "outputs")},
    }
    summary = runner.run(config)
    assert (summary.status, summary.failed, sum(summary.by_status.values())) == ("complete", 0, SAMPLES)
    raw = {row["request_key"]: orjson.loads(row["response"]) for row in table(summary.run_dir, "raw")}
    return [{**row, "said": raw[row["request_key"]]["choices"][0]} for row in table(summary.run_dir)]


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
