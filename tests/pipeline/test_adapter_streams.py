"""Runs that stream through adapters: the same rows as without, what is cut, what is asked for, and the check."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.config import config_from_dict, load_adapter
from runner.errors import ConfigError
from runner.folder.commits import read_commits
from runner.pipeline.opening import open_existing, sealing_of
from runner.pipeline.storing.reseal import reseal
from runner.simulate import FaultRules
from tests.support.commands import evalrunner
from tests.support.odd_server import Reply
from tests.support.runs import check_books, config_for, questions, run_again, table, write_rows
from tests.support.serving import QUICK, serving
from tests.support.vendors import says, vendor

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.runs import Row

# What two answers of one request never have in common.
_OWN = {
    "server",
    "started_at",
    "finished_at",
    "queued_s",
    "latency_s",
    "first_token_s",
    "created",
    "response_id",
    "request_id",
}
CHAT = {"messages": [{"role": "user", "content": "{{ question }}"}]}
TEXT = {"endpoint": "completions", "prompt": "{{ question }}"}


def config_of(simulator: Simulator, folder: Path, adapter: str, asked: dict[str, Any], **request: Any) -> Any:
    """Return a config for the simulator, which has OpenAI's paths, and the model in the body."""
    spec = load_adapter(adapter)
    if adapter == "azure-openai":
        spec |= {"path": "/chat/completions", "body": {**spec["body"], "model": "{{ model }}"}}
    (folder / "mine.yaml").write_text(json.dumps(spec), encoding="utf-8")
    config = config_for(simulator, write_rows(folder / "data.jsonl", questions(12)))
    config["model"]["adapter"] = str(folder / "mine.yaml")
    timeouts = config["request"]["timeout_s"]
    return {**config, "request": {"timeout_s": timeouts, **asked, **request}}


def rows_of(run_dir: Path) -> list[Row]:
    rows = sorted(table(run_dir), key=lambda row: (row["sample_id"], row["choice"]))
    return [{name: value for name, value in row.items() if name not in _OWN} for row in rows]


@pytest.mark.parametrize(
    ("adapter", "asked", "params"),
    [
        ("azure-openai", CHAT, {"temperature": 0}),
        ("azure-openai", CHAT, {"n": 2, "logprobs": True, "top_logprobs": 2}),
        ("openai-completions", TEXT, {"max_tokens": 6, "logprobs": 2}),
    ],
)
def test_rows_are_the_same_with_and_without_streaming(
    adapter: str, asked: dict[str, Any], params: dict[str, Any], tmp_path: Path
) -> None:
    found = {}
    for stream in (False, True):
        run_dir = tmp_path / f"stream-{stream}"
        with serving() as simulator:
            config = config_of(simulator, tmp_path, adapter, asked, params=params, stream=stream)
            summary, sent = run_again(config, run_dir, simulator)
            assert (summary.exit_code, summary.warnings, sent) == (0, [], 12)
            assert run_again(config, run_dir, simulator)[1] == 0
        found[stream] = rows_of(run_dir)
        assert all((row["first_token_s"] is not None) is stream for row in table(run_dir))
        for row in table(run_dir, "raw"):
            body = orjson.loads(row["request"])
            assert (body.get("stream"), body.get("stream_options")) == (
                (True, {"include_usage": True}) if stream else (None, None)
            )
            assert row["response"].startswith(b"data:" if stream else b"{")
    for one, other in zip(found[True], found[False], strict=True):
        assert one == other
    assert {row["total_tokens"] is not None for row in found[True] if row["choice"] == 0} == {True}


def test_a_stream_that_is_cut_is_sent_again_and_resealing_gives_the_same_rows(tmp_path: Path) -> None:
    with serving(replace(QUICK, faults=FaultRules(fractions={"cut": 0.3}))) as simulator:
        config = config_of(simulator, tmp_path, "azure-openai", CHAT, stream=True)
        config["retry"]["max_attempts"] = 9
        summary = runner.run(config, run_dir=tmp_path / "run")
        check_books(summary, simulator)
    assert (summary.exit_code, summary.ok + summary.by_status.get("truncated", 0)) == (0, 12)
    assert summary.retries > 0
    before = table(tmp_path / "run")
    folder, manifest = open_existing(tmp_path / "run")
    reseal(sealing_of(folder, manifest, config_from_dict(manifest.config, tmp_path)), read_commits(folder))
    assert table(tmp_path / "run") == before


def test_an_error_inside_a_stream_is_found_where_the_adapter_says(tmp_path: Path) -> None:
    adapter = load_adapter("azure-openai")
    adapter["errors"] = {"in_body": "trouble", "code": "trouble.kind", "by_code": {"full": "overload"}}
    (tmp_path / "mine.yaml").write_text(json.dumps(adapter), encoding="utf-8")
    stream = {"Content-Type": "text/event-stream"}
    trouble = b'data: {"trouble": {"kind": "full"}}\n\ndata: [DONE]\n\n'
    answer = (
        b'data: {"choices": [{"index": 0, "delta": {"content": "Nil"}}]}\n\n'
        b'data: {"choices": [{"index": 0, "delta": {"content": "."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    )
    with vendor(lambda seen: Reply(body=trouble if seen.number == 1 else answer, headers=stream)) as server:
        config = {
            "name": "streams",
            "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", questions(3))), "id": "id"},
            "model": {"base_url": server.root, "name": "m", "adapter": str(tmp_path / "mine.yaml")},
            "request": {**CHAT, "stream": True},
            "limits": {"max_in_flight": 1},
            "retry": {"first_wait_s": 0.001, "max_wait_s": 0.01},
        }
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, {row["text"] for row in table(tmp_path / "run")}) == (0, {"Nil."})
    kinds = [row["error_kind"] for row in table(tmp_path / "run", "attempts")]
    assert sorted(kinds, key=str) == [None, None, None, "overload"]


def test_an_adapter_without_streams_is_not_asked_for_one(tmp_path: Path) -> None:
    with serving() as simulator:
        config = config_of(simulator, tmp_path, "anthropic-messages", CHAT, stream=True)
        with pytest.raises(ConfigError, match=r"request\.stream: the adapter anthropic-messages cannot stream"):
            runner.run(config)


@pytest.mark.parametrize("streams", [True, False])
def test_the_check_reads_the_stream_that_a_run_asks_for(streams: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a table
    body = orjson.loads(b'{"choices": [{"index": 0, "message": {"content": "Nil."}, "finish_reason": "stop"}]}')
    chunk = (
        b'data: {"choices": [{"index": 0, "delta": {"content": "Nil."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    )
    reply = Reply(body=chunk, headers={"Content-Type": "text/event-stream"}) if streams else says(body)
    with vendor(lambda _: reply) as server:
        config = {
            "name": "streams",
            "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", questions(1)))},
            "model": {"base_url": server.root, "name": "m", "adapter": "azure-openai"},
            "request": {**CHAT, "stream": True},
        }
        path = tmp_path / "run.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        finished = evalrunner("check", path, "--json", cwd=tmp_path)
    found = {one["name"]: (one["outcome"], one["detail"]) for one in finished.json["checks"]}
    assert (finished.code, server.bodies[0]["stream"]) == (0, True)
    assert found["answer"] == ("ok", "'Nil.', status ok, 1 choices")
    assert found["finish_reason"] == ("ok", "`finish_reason` finds 'stop'")
    assert found["streaming"] == (("ok", "") if streams else ("no", "the answer is no stream"))
