"""The connection test, and adapting, against llama.cpp's own server with one slot: it gives one choice at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import orjson
import pytest

import runner
from runner.engines import open_embedded
from runner.pipeline.probe import LIMITED, MOST_REQUESTS, PASSED, Target, probe
from runner.transport import TransportOptions, open_transport
from tests.support.runs import questions, table, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner.pipeline.probe import Probe

pytestmark = pytest.mark.real


def test_check_tells_what_llama_cpp_can_do(tiny_gguf: Path) -> None:
    async def main() -> Probe:
        async with (
            open_embedded(str(tiny_gguf)) as server,
            open_transport(TransportOptions(base_url=server.base_url)) as transport,
        ):
            return await probe(transport, Target("tiny"))

    found = anyio.run(main)
    said = {check.name: check.outcome for check in found.checks}
    assert (found.exit_code, found.requests <= MOST_REQUESTS) == (0, True)
    for name in ("reach", "auth", "chat", "usage", "logprobs", "streaming", "completions", "temperature", "seed"):
        assert said[name] == PASSED, name
    assert (said["embeddings"], said["echo"]) == (LIMITED, LIMITED)
    assert found.facts["max_tokens_names"] == {"max_tokens": "ok", "max_completion_tokens": "ok"}
    assert (found.facts["top_logprobs"], found.facts["stream_usage"]) == (20, True)


def test_more_choices_than_it_has_slots_come_one_by_one(tiny_gguf: Path, tmp_path: Path) -> None:
    config = {
        "name": "real",
        "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", questions(3))), "id": "id"},
        "model": {"embedded": str(tiny_gguf)},
        "request": {
            "messages": [{"role": "user", "content": "{{ question }}"}],
            "params": {"temperature": 1, "seed": 1, "max_tokens": 8, "n": 9},
        },
        "limits": {"max_in_flight": 2},
        "output": {"dir": str(tmp_path / "outputs")},
    }
    summary = runner.run(config)
    rows = table(summary.run_dir)
    assert (summary.exit_code, summary.failed, len(rows)) == (0, 0, 27)
    assert {(row["sample_id"], row["choice"]) for row in rows} == {(f"q{n}", c) for n in range(3) for c in range(9)}
    assert sum(row["completion_tokens"] for row in rows) == summary.completion_tokens
    assert {orjson.loads(row["request"])["seed"] for row in table(summary.run_dir, "raw")} == set(range(1, 10))
    assert any("does not support n" in one and "Field 'n'" in one for one in summary.warnings)
