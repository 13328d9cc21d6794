"""SIGKILL while packs are sent, split and sealed: a vector that was acknowledged stays and is not bought again."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.journal import FrameType, list_segments, scan_segment
from runner.pipeline.requests.cases import case_keys
from runner.pipeline.storing.codec import read_meta, split_payload
from runner.pipeline.storing.verify import verify
from runner.simulate import vector_of
from tests.support.kill_cases import Case
from tests.support.kill_driver import Job
from tests.support.kill_programs import Driver, open_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.kill_programs import Server

pytestmark = pytest.mark.kill

SEED = 20261124
PACK, SLOTS, SAMPLES, DIMENSIONS = 16, 4, 400, 32
POISON = frozenset({"s00007", "s00150", "s00399"})
POINTS = (
    "session:after-answer:3",
    "session:after-answer:20",
    "journal:before-write:2",
    "journal:after-write:5",
    "journal:after-sync:5",
    "journal:after-sync:9",
    "journal:after-mark:7",
    "sealing:after-row-group:1",
    "sealing:after-row-group:6",
    "sealing:after-staging:2",
    "sealing:before-segment-removal:3",
    "commit:after-commit-file:3",
    "commit:after-rename:4",
    "recovery:before-sealing:1",
    "run:after-manifest:1",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with open_server(tmp_path, "--first-token", "0.002..0.006") as server:
        yield server


@pytest.fixture
def case(server: Server, tmp_path: Path) -> Case:
    case = Case(tmp_path)
    rows = [{"id": f"s{number:05d}", "prompt": f"text {number}", "note": f"note {number}"} for number in range(SAMPLES)]
    for row in rows:
        row["prompt"] += " [[fault:400]]" if row["id"] in POISON else ""
    case.write_rows(rows)
    request = {"endpoint": "embeddings", "input": "{{ prompt }}", "batch_size": PACK}
    case.write_config(server, request=request, limits={"max_in_flight": SLOTS})
    return case


def test_packs_killed_at_every_step(case: Case, server: Server) -> None:
    kept: dict[str, str] = {}
    with Driver() as driver:
        for point in POINTS:
            job = Job(case.command, str(case.output), segment_bytes=60_000, group_rows=2, crash_at=point)
            assert driver.run(job) in {-9, 0, 3}, case.output.read_text()
            kept = checked(case, kept)
        assert driver.run(Job(case.command, str(case.output), segment_bytes=60_000)) == 3
    check_end(case, server, kept, kills=len(POINTS))


def test_packs_killed_at_random(case: Case, server: Server) -> None:
    random = Random(SEED)  # noqa: S311 - moments, not secrets
    kept: dict[str, str] = {}
    kills = 12
    with Driver() as driver:
        for _ in range(kills):
            child = driver.start(Job(case.command, str(case.output), segment_bytes=60_000))
            assert driver.kill_after(child, random.uniform(0.05, 0.4)) in {-9, 3}, case.output.read_text()
            kept = checked(case, kept)
        assert driver.run(Job(case.command, str(case.output), segment_bytes=60_000)) == 3
    check_end(case, server, kept, kills=kills)


def checked(case: Case, before: dict[str, str]) -> dict[str, str]:
    """Return the request that each key was answered by; what was there before is there still."""
    now = acknowledged(case.run_dir)
    assert {key: now.get(key) for key in before} == before
    return now


def acknowledged(root: Path) -> dict[str, str]:
    folder = RunFolder(root)
    found: dict[str, str] = {}
    for part in sorted((root / "responses").glob("*.parquet")) if (root / "responses").is_dir() else ():
        rows = pq.read_table(part, columns=["key", "request_key", "status"], partitioning=None).to_pylist()
        for row in rows:
            assert row["key"] not in found, "a key stands twice"
            found[row["key"]] = row["request_key"]
    if not folder.journal.is_dir():
        return found
    sealed = read_commits(folder).sealed_segments if folder.commits.is_dir() else set()
    for path in list_segments(folder.journal).paths:
        if int(path.stem) in sealed:
            continue
        for frame in scan_segment(path):
            if frame.kind in {FrameType.ANSWER, FrameType.FAILURE}:
                ended = read_meta(split_payload(frame.payload)[0])
                for key in case_keys(ended.cases):
                    assert key not in found, "a key was answered twice"
                    found[key] = ended.key
    return found


def check_end(case: Case, server: Server, kept: dict[str, str], *, kills: int) -> None:
    table = pq.read_table(case.run_dir / "responses", partitioning=None).to_pylist()
    assert sorted(row["sample_id"] for row in table) == case.ids
    assert {row["sample_id"] for row in table if row["status"] != "ok"} == POISON
    for row in table:
        if row["status"] == "ok":
            expected = vector_of(f"text {int(row['sample_id'][1:])}", DIMENSIONS)
            np.testing.assert_array_equal(np.float32(row["embedding"]), expected)
    assert {row["key"]: row["request_key"] for row in table if row["key"] in kept} == kept
    assert verify(RunFolder(case.run_dir)).findings == []
    summary = orjson.loads(RunFolder(case.run_dir).manifest.read_bytes())["summary"]
    attempts = pq.read_table(case.run_dir / "attempts", partitioning=None)
    assert summary["http_requests"] == attempts.num_rows
    # What the books do not know is no more than what was under way, with the notes of a group that was not synced yet.
    assert 0 <= server.arrived() - summary["http_requests"] <= kills * 3 * SLOTS
    assert [path.name for part in ("_journal", "_tmp") for path in (case.run_dir / part).iterdir()] == []
