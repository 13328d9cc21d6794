"""Completions and responses of llama.cpp's own server: its shapes end in the columns that all servers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

import runner
from runner.pipeline.requests.omissions import OMITTED
from tests.support.runs import questions, table, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner import RunSummary

pytestmark = pytest.mark.real

MESSAGES = [{"role": "user", "content": "{{ question }}"}]


def run_on(
    model: Path, tmp_path: Path, request: dict[str, Any], rows: list[dict[str, Any]]
) -> tuple[RunSummary, list[dict[str, Any]]]:
    """Run on the tiny random model, and return the rows with the server's own answer beside each."""
    summary = run(model, tmp_path, request, rows)
    raw = {row["request_key"]: orjson.loads(row["response"]) for row in table(summary.run_dir, "raw")}
    return summary, [{**row, "said": raw[row["request_key"]]} for row in table(summary.run_dir)]


def run(
    model: Path, tmp_path: Path, request: dict[str, Any], rows: list[dict[str, Any]], in_flight: int = 2
) -> RunSummary:
    config = {
        "name": "real",
        "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", rows)), "id": "id"},
        "model": {"embedded": str(model)},
        "request": request,
        "limits": {"max_in_flight": in_flight},
        "output": {"dir": str(tmp_path / "outputs")},
    }
    summary = runner.run(config, run_dir=tmp_path / f"run{len(list(tmp_path.iterdir()))}")
    assert (summary.status, summary.failed) == ("complete", 0)
    return summary


def test_completions_with_log_probabilities(tiny_gguf: Path, tmp_path: Path) -> None:
    request = {
        "endpoint": "completions",
        "prompt": "{{ question }}",
        "params": {"temperature": 0, "seed": 1, "max_tokens": 8, "logprobs": 4},
    }
    summary, rows = run_on(tiny_gguf, tmp_path, request, questions(4))
    assert (len(rows), summary.warnings) == (4, [])
    for row in rows:
        (choice,) = row["said"]["choices"]
        entries = choice["logprobs"]["content"]
        assert (row["text"], row["finish_reason"]) == (choice["text"], choice["finish_reason"])
        assert row["status"] == ("truncated" if choice["finish_reason"] == "length" else "ok")
        assert row["tokens"] == [entry["token"] for entry in entries]
        assert row["token_bytes"] == [bytes(entry["bytes"]) for entry in entries]
        assert row["token_logprobs"] == [float(np.float32(entry["logprob"])) for entry in entries]
        assert {len(tops) for tops in row["top_tokens"]} == {4}
        assert row["completion_tokens"] >= len(entries) > 0


@pytest.mark.parametrize(
    ("prompt", "prompts"), [(["A", "B {{ level }}", "C"], 3), ([40, 41, 42], 1), ([[40, 41], [42]], 2)]
)
@pytest.mark.parametrize("n", [1, 2])
def test_prompts_in_arrays(prompt: Any, prompts: int, n: int, tiny_gguf: Path, tmp_path: Path) -> None:
    request = {
        "endpoint": "completions",
        "prompt": prompt,
        "params": {"temperature": 0, "max_tokens": 4, "n": n, "logprobs": 1},
    }
    summary, rows = run_on(tiny_gguf, tmp_path, request, questions(2))
    assert (len(rows), summary.warnings) == (2 * prompts * n, [])
    for row in rows:
        (choice,) = [choice for choice in row["said"]["choices"] if choice["index"] == row["choice"]]
        assert (row["text"], row["status"]) == (choice["text"], "truncated")
        assert (row["tokens"] is None) == (choice["logprobs"] is None)
        # It gives none for an answer whose bytes never made up a character.
        assert row["tokens"] or not row["text"].strip("\ufffd")
        assert (row["usage_json"] is not None) == (row["choice"] == 0)


def test_an_answer_of_broken_characters_alone_is_no_omission(tiny_gguf: Path, tmp_path: Path) -> None:
    params = {"temperature": 0, "max_tokens": 4, "logprobs": 1}
    request = {"endpoint": "completions", "prompt": "C", "params": params, "on_unsupported": "fail"}
    summary, rows = run_on(tiny_gguf, tmp_path, request, questions(2))
    assert [(row["tokens"], row["text"].strip("\ufffd")) for row in rows] == [(None, "")] * 2
    assert summary.warnings == []


def test_responses(tiny_gguf: Path, tmp_path: Path) -> None:
    request = {"endpoint": "responses", "messages": MESSAGES, "params": {"max_output_tokens": 4, "temperature": 0}}
    _, rows = run_on(tiny_gguf, tmp_path, request, questions(3))
    for row in rows:
        (item,) = row["said"]["output"]
        assert row["text"] == item["content"][0]["text"]
        assert (row["prompt_tokens"], row["completion_tokens"]) == (row["said"]["usage"]["input_tokens"], 4)
        assert row["response_id"] == row["said"]["id"]


def test_its_responses_leave_out_log_probabilities_and_that_is_noticed(tiny_gguf: Path, tmp_path: Path) -> None:
    params = {"max_output_tokens": 4, "temperature": 0, "include": ["message.output_text.logprobs"]}
    request = {"endpoint": "responses", "messages": MESSAGES, "params": params}
    summary, rows = run_on(tiny_gguf, tmp_path, request, questions(3))
    assert summary.warnings == [OMITTED]
    assert [row["tokens"] for row in rows] == [None] * 3


# What two answers of one request never have in common.
OWN = {"started_at", "finished_at", "queued_s", "latency_s", "first_token_s", "created", "response_id"}
BY_TOKEN = ("tokens", "token_bytes", "token_logprobs", "top_tokens", "top_logprobs")
TEXT = {"endpoint": "completions", "prompt": "{{ question }}"}


@pytest.mark.parametrize(
    "request_section",
    [
        {**TEXT, "params": {"temperature": 0, "max_tokens": 8, "logprobs": 4}},
        {**TEXT, "params": {"temperature": 0, "max_tokens": 40, "n": 2}},
        {"endpoint": "logprobs", "messages": MESSAGES, "params": {"temperature": 0, "max_tokens": 8}},
        {"endpoint": "responses", "messages": MESSAGES, "params": {"temperature": 0, "max_output_tokens": 8}},
        {"endpoint": "responses", "messages": MESSAGES, "params": {"temperature": 0, "max_output_tokens": 40}},
    ],
)
def test_rows_are_the_same_with_and_without_streaming(
    request_section: dict[str, Any], tiny_gguf: Path, tmp_path: Path
) -> None:
    found = []
    for stream in (False, True):
        # One at a time: what is computed together differs in the last digits.
        summary = run(tiny_gguf, tmp_path, {**request_section, "stream": stream}, questions(4), in_flight=1)
        rows = sorted(table(summary.run_dir), key=lambda row: (row["sample_id"], row["choice"]))
        assert all((row["first_token_s"] is not None) == stream for row in rows)
        found.append([{name: row[name] for name in row.keys() - OWN} for row in rows])
    without, streamed = found
    for row in without:  # it streams no chunk for a token without text
        shown = [place for place, data in enumerate(row["token_bytes"] or ()) if data]
        for name in BY_TOKEN:
            row[name] = None if row[name] is None else [row[name][place] for place in shown]
    assert streamed == without
    assert all(row["completion_tokens"] for row in without if row["choice"] == 0)


def test_the_logprobs_endpoint_needs_no_parameters(tiny_gguf: Path, tmp_path: Path) -> None:
    request = {"endpoint": "logprobs", "messages": MESSAGES, "params": {"max_tokens": 4}}
    summary, rows = run_on(tiny_gguf, tmp_path, request, questions(3))
    assert summary.warnings == []
    assert {len(tops) for row in rows for tops in row["top_tokens"]} == {5}


def test_it_gives_no_likelihoods_and_the_run_stops_with_a_reason(tiny_gguf: Path, tmp_path: Path) -> None:
    config = {
        "name": "real",
        "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", questions(3))), "id": "id"},
        "model": {"embedded": str(tiny_gguf)},
        "request": {"endpoint": "loglikelihood", "context": "{{ question }}", "continuations": [" yes", " no"]},
        "output": {"dir": str(tmp_path / "outputs")},
    }
    summary = runner.run(config)
    assert (summary.status, summary.exit_code, summary.by_status) == ("stopped", 5, {})
    assert summary.http_requests == 2
    (warning,) = summary.warnings
    assert "the server gives no log probabilities of a prompt" in warning
    assert "llama.cpp's own server ignores echo" in warning
    assert table(summary.run_dir) == []
