"""What the API documents print and name, on a real connection: each parameter as it arrives, each example as rows.

docs/endpoints.md names these tests line by line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

import runner
from tests.support.documented import PARAMS
from tests.support.odd_server import Reply, answering
from tests.support.runs import table, write_rows

if TYPE_CHECKING:
    from tests.support.odd_server import Call
    from tests.support.runs import Row

BODIES = Path(__file__).parents[1] / "bodies"
EXTRA = {"timeout": 30, "provider": {"order": ["a", "b"]}}
MESSAGES = [{"role": "user", "content": "{{ question }}"}]
CONTENTS = {"chat": {"messages": MESSAGES}, "completions": {"prompt": "{{ question }}"}}
RENDERED = {"chat": {"messages": [{"role": "user", "content": "Hi"}]}, "completions": {"prompt": "Hi"}}


def two_choices(_: Call) -> Reply:
    entry = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    message, logprobs = {"role": "assistant", "content": "a"}, {"content": [entry]}
    choices = [{"index": n, "message": message, "logprobs": logprobs, "finish_reason": "stop"} for n in (0, 1)]
    return Reply(body=orjson.dumps({"choices": choices}))


def run_against(
    answer: Reply | None, request: dict[str, Any], rows: list[dict[str, Any]], folder: Path, name: str = "m"
) -> tuple[list[Call], Path]:
    """Run a dataset against a server that always gives this answer; return what it saw, and the run's folder."""
    calls: list[Call] = []

    def note(call: Call) -> Reply:
        calls.append(call)
        return answer or two_choices(call)

    with answering(note) as base_url:
        config = {
            "name": "forms",
            "dataset": {"path": str(write_rows(folder / "data.jsonl", rows)), "id": "id"},
            "model": {"base_url": base_url, "name": name},
            "request": request,
            "retry": {"max_attempts": 1},
            "output": {"dir": str(folder / "outputs")},
        }
        summary = runner.run(config, run_dir=folder / "run")
    assert (summary.status, summary.failed) == ("complete", 0)
    return calls, folder / "run"


def exactly(value: Any) -> bytes:
    """Return a value as JSON: 1, 1.0 and true differ."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


# ---------------------------------------------------------------- parameters


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """Send all parameters of each endpoint, written in the config, then streaming and each from a column."""
    sent = {}
    for endpoint, params in PARAMS.items():
        columns = {name: f"{{{{ {name} }}}}" for name in params}
        for way, section in (("constants", {"params": params}), ("columns", {"params": columns, "stream": True})):
            request = {"endpoint": endpoint, "extra_body": EXTRA, **CONTENTS[endpoint], **section}
            rows = [{"id": "q", "question": "Hi", **params}]
            (call,), _ = run_against(None, request, rows, tmp_path_factory.mktemp(f"{endpoint}-{way}"))
            sent[endpoint, way] = call.body
    return sent


@pytest.mark.parametrize("way", ["constants", "columns"])
@pytest.mark.parametrize(("endpoint", "name"), [(endpoint, name) for endpoint in PARAMS for name in PARAMS[endpoint]])
def test_each_parameter_arrives_as_the_config_or_a_column_has_it(
    endpoint: str, name: str, way: str, bodies: dict[tuple[str, str], dict[str, Any]]
) -> None:
    assert exactly(bodies[endpoint, way][name]) == exactly(PARAMS[endpoint][name])


@pytest.mark.parametrize("endpoint", PARAMS)
def test_nothing_else_is_sent(endpoint: str, bodies: dict[tuple[str, str], dict[str, Any]]) -> None:
    expected = {"model": "m", **RENDERED[endpoint], **PARAMS[endpoint], **EXTRA}
    assert bodies[endpoint, "constants"] == expected
    assert bodies[endpoint, "columns"] == {**expected, "stream": True}


# ---------------------------------------------------------------- examples


@pytest.mark.parametrize(
    ("request_section", "path", "sent"),
    [
        ({"messages": MESSAGES}, "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello!"}]}),
        (
            {"messages": MESSAGES, "params": {"logprobs": True, "top_logprobs": 5}},
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "Hello!"}], "logprobs": True, "top_logprobs": 5},
        ),
        (
            {"endpoint": "embeddings", "input": "{{ question }}", "params": {"encoding_format": "float"}},
            "/v1/embeddings",
            {"input": "Hello!", "encoding_format": "float"},
        ),
        (
            {"endpoint": "completions", "prompt": "{{ question }}"},
            "/v1/completions",
            {"prompt": "Hello!"},
        ),
    ],
)
def test_the_example_requests_are_sent_as_printed(
    request_section: dict[str, Any], path: str, sent: dict[str, Any], tmp_path: Path
) -> None:
    embeddings = request_section.get("endpoint") == "embeddings"
    answer = Reply(body=(BODIES / ("seed_embeddings.json" if embeddings else "seed_logits.json")).read_bytes())
    rows = [{"id": "q", "question": "Hello!"}]
    (call,), _ = run_against(answer, request_section, rows, tmp_path, "gpt-4o")
    assert (call.path, exactly(call.body)) == (path, exactly({"model": "gpt-4o", **sent}))
    assert call.headers["Content-Type"] == "application/json"


def row_of(body: str, request: dict[str, Any], tmp_path: Path) -> tuple[Row, bytes]:
    """Run one sample against an example answer, byte for byte; return its row, and what is kept of the body."""
    reply = Reply(body=(BODIES / body).read_bytes())
    _, run_dir = run_against(reply, request, [{"id": "q", "question": "Hello!"}], tmp_path)
    (row,), (raw,) = table(run_dir), table(run_dir, "raw")
    return row, raw["response"]


def test_the_chat_example_as_printed_becomes_a_row(tmp_path: Path) -> None:
    row, kept = row_of("seed_chat_printed.txt", {"messages": MESSAGES}, tmp_path)
    expected = {
        "status": "ok",
        "text": "\n\nHello there, how may I assist you today?",
        "finish_reason": "stop",
        "response_id": "chatcmpl-123",
        "served_model": "gpt-4o-mini",
        "system_fingerprint": "fp_44709d6fcb",
        "prompt_tokens": 9,
        "completion_tokens": 12,
        "total_tokens": 21,
        "reasoning_tokens": 0,
        "tokens": None,
        "parse_note": "trailing comma",
    }
    assert {name: row[name] for name in expected} == expected
    assert row["created"].timestamp() == 1677652288
    assert kept == (BODIES / "seed_chat_printed.txt").read_bytes()
    assert b'"object": "chat.completion"' in kept
    assert b'"role": "assistant"' in kept


def test_the_log_probability_example_as_printed_becomes_a_row(tmp_path: Path) -> None:
    request = {"messages": MESSAGES, "params": {"logprobs": True, "top_logprobs": 5}}
    row, kept = row_of("seed_logits.json", request, tmp_path)
    expected = {
        "status": "ok",
        "text": "2",
        "finish_reason": "sto",
        "refusal": None,
        "tokens": ["2"],
        "token_bytes": [b"2"],
        "token_logprobs": [float(np.float32(-1.9361264946837764e-07))],
        "top_tokens": [["2", "Two", "\u2082", "2", "1"]],
        "top_logprobs": [[float(np.float32(-1.9361264946837764e-07)), -16.375, -21.125, -21.875, -22.375]],
        "prompt_tokens": 34,
        "completion_tokens": 2,
        "total_tokens": 36,
        "cached_tokens": 0,
        "service_tier": "default",
        "system_fingerprint": "fp_06737a9306",
        "parse_note": None,
    }
    assert {name: row[name] for name in expected} == expected
    assert orjson.loads(row["usage_json"])["prompt_tokens_details"]["audio_tokens"] == 0
    assert kept == (BODIES / "seed_logits.json").read_bytes()
    tops = orjson.loads(kept)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    # The alternatives' bytes have no column. One of them is another digit than its text: `raw` alone tells.
    assert [bytes(top["bytes"]).decode() for top in tops] == ["2", "Two", "\u2082", "\uff12", "1"]


def test_the_embeddings_example_becomes_a_row(tmp_path: Path) -> None:
    request = {"endpoint": "embeddings", "input": "{{ question }}", "params": {"encoding_format": "float"}}
    row, kept = row_of("seed_embeddings.json", request, tmp_path)
    assert row["embedding"] == [float(np.float32(value)) for value in (0.0023064255, -0.009327292, -0.0028842222)]
    assert (row["served_model"], row["prompt_tokens"], row["total_tokens"]) == ("text-embedding-ada-002", 8, 8)
    assert kept == (BODIES / "seed_embeddings.json").read_bytes()
    assert [orjson.loads(kept)[name] for name in ("object", "model")] == ["list", "text-embedding-ada-002"]
    assert orjson.loads(kept)["data"][0]["object"] == "embedding"
