"""Owns what tests of whole runs share: a config, a dataset, the tables, and the comparison with the server's books."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow.parquet as pq

import runner
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.pipeline.storing.verify import verify
from runner.simulate import request_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner import RunSummary
    from runner.simulate import Simulator

Row = dict[str, Any]

_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write a JSON Lines dataset."""
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def questions(count: int, first: int = 0) -> list[Row]:
    """Return rows with id, question, answer and two more columns."""
    return [
        {"id": f"q{number}", "question": f"What is {number} + 1?", "answer": f"{number + 1}", "level": number % 3}
        for number in range(first, first + count)
    ]


def config_for(simulator: Simulator, dataset: Path, /, **sections: Any) -> dict[str, Any]:
    """Return a config that asks the simulator the question of each row; `sections` are merged in, key by key."""
    config: dict[str, Any] = {
        "name": "test",
        "dataset": {"path": str(dataset), "id": "id", "target": "answer"},
        "model": {"base_url": simulator.base_url, "name": "m"},
        "request": {
            "messages": [{"role": "user", "content": "{{ question }}"}],
            "params": {"temperature": 0},
            "timeout_s": {"connect": 5, "total": 20},
        },
        "limits": {"max_in_flight": 8},
        "retry": {"max_attempts": 3, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
        "output": {"dir": str(dataset.parent / "outputs")},
    }
    for name, values in sections.items():
        config[name] = {**config.get(name, {}), **values} if isinstance(values, dict) else values
    return config


def write_config(path: Path, config: Mapping[str, Any]) -> Path:
    """Write a config file; JSON is YAML."""
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return path


def table(run_dir: str | Path, name: str = "responses") -> list[Row]:
    """Return all rows of a table, part by part."""
    parts = sorted((Path(run_dir) / name).glob("*.parquet"))
    return [row for part in parts for row in pq.read_table(part, partitioning=None).to_pylist()]


def by_sample(run_dir: str | Path) -> dict[str, Row]:
    """Return the rows of `responses` by sample id; each may stand there once."""
    rows = table(run_dir)
    found = {row["sample_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def sent_by(simulator: Simulator) -> int:
    """Return how many requests have reached the server so far."""
    return simulator.statistics().requests


def check_books(summary: RunSummary, simulator: Simulator) -> None:
    """Compare summary, commits, every table and the server's ledger; all of them tell the same story."""
    folder = RunFolder(Path(summary.run_dir))
    responses, attempts, raw = (table(folder.root, name) for name in ("responses", "attempts", "raw"))
    superseded = table(folder.root, "superseded")
    served = simulator.statistics()
    assert verify(folder).findings == []
    assert len({(row["key"], row["choice"]) for row in responses}) == len(responses)
    assert summary.by_status == Counter(row["status"] for row in responses)
    assert summary.superseded == len(superseded)
    assert summary.http_requests == len(attempts) == served.requests
    assert summary.retries == sum(row["attempt"] > 1 for row in attempts)
    assert summary.rate_limited == sum(row["http_status"] == 429 for row in attempts)
    for name in _TOKENS:
        assert getattr(summary, name) == _sum(attempts, name) == _sum(responses, name) + _sum(superseded, name)
    assert (summary.prompt_tokens, summary.completion_tokens) == (served.prompt_tokens, served.completion_tokens)
    answered = Counter(entry.digest for entry in simulator.ledger.entries() if entry.answered)
    assert Counter(request_digest(orjson.loads(row["request"])) for row in raw if row["http_status"] == 200) == answered
    totals = read_commits(folder).totals
    assert {status: count for status, count in totals.by_status.items() if count} == summary.by_status
    assert (totals.superseded, totals.http_requests) == (summary.superseded, summary.http_requests)
    manifest = orjson.loads(folder.manifest.read_bytes())
    assert manifest["summary"] == orjson.loads(orjson.dumps(asdict(summary)))
    assert manifest["status"] == summary.status


def run_again(config: Mapping[str, Any], run_dir: Path, simulator: Simulator) -> tuple[RunSummary, int]:
    """Run, compare all books, and return the summary and how many requests this took."""
    before = sent_by(simulator)
    summary = runner.run(config, run_dir=run_dir)
    check_books(summary, simulator)
    return summary, sent_by(simulator) - before


def _sum(rows: Iterable[Row], name: str) -> int:
    return sum(row[name] or 0 for row in rows)
