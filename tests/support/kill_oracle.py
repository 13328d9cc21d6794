"""Owns the judgement over a run folder after a kill: read from outside, by nothing that could repair it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from runner.endpoints.chat_stream import CHAT_STREAM
from runner.errors import DamagedError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.journal import FrameType, list_segments, scan_segment
from runner.pipeline.storing.codec import read_meta, split_payload

if TYPE_CHECKING:
    from pathlib import Path

_TABLES = ("responses", "attempts", "raw", "superseded")
_COLUMNS = ["key", "choice", "sample_id", "status", "response_id"]


@dataclass(slots=True)
class FolderState:
    """What a run folder holds at one moment: rows that anybody's glob sees, and answers that only the journal has.

    `rows` are the statuses in `responses` by sample id, `answers` the response ids of all answers by key, wherever they
    stand, `taken_out` the response ids (null: a failure) in `superseded`. `problems` are violated promises.
    """

    rows: dict[str, list[str]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    taken_out: list[str | None] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_state(root: Path) -> FolderState:
    """Read a run folder whose process is dead and judge what must hold at any moment."""
    state = FolderState()
    folder = RunFolder(root)
    rows = {table: _read_rows(folder.table(table), state) for table in _TABLES}
    pairs = Counter((row["key"], row["choice"]) for row in rows["responses"])
    state.problems += [f"{pair} stands {count} times in responses" for pair, count in pairs.items() if count > 1]
    for row in rows["responses"]:
        state.rows.setdefault(row["sample_id"], []).append(row["status"])
        if row["status"] != "failed":
            state.answers[row["key"]] = row["response_id"]
    for row in rows["superseded"]:
        state.taken_out.append(row["response_id"])
        if row["response_id"] is not None:
            state.answers.setdefault(row["key"], row["response_id"])
    _read_journal(folder, {key for key, _ in pairs}, state)
    return state


def judge_end(root: Path, ids: list[str], seen: dict[str, str]) -> list[str]:
    """Return what is wrong with a finished run: `ids` are its samples, `seen` every answer that any state had shown."""
    state = read_state(root)
    problems = state.problems
    frame = pd.read_parquet(root / "responses")
    if sorted(frame["sample_id"]) != sorted(ids):
        problems.append(f"pandas reads {len(frame)} rows, not the {len(ids)} of the dataset")
    if sorted(state.rows) != sorted(ids) or any(len(rows) != 1 for rows in state.rows.values()):
        problems.append(f"{len(state.rows)} samples in responses, not the {len(ids)} of the dataset once each")
    if any(status == "failed" for rows in state.rows.values() for status in rows):
        problems.append("failed rows are left although the server is healthy")
    kept = {*state.answers.values(), *state.taken_out}
    lost = {key for key, answer in seen.items() if answer not in kept}
    if lost:
        problems.append(f"{len(lost)} answers were acknowledged and are lost, or were paid for again: {sorted(lost)}")
    manifest = orjson.loads(RunFolder(root).manifest.read_bytes())
    if (manifest["status"], manifest["summary"]["exit_code"]) != ("complete", 0):
        problems.append(f"the manifest says {manifest['status']}")
    if manifest["summary"]["by_status"] != Counter(status for rows in state.rows.values() for status in rows):
        problems.append(f"the summary counts {manifest['summary']['by_status']}")
    left = [path.name for part in ("_journal", "_tmp") for path in (root / part).iterdir()]
    return problems + ([f"left behind: {left}"] if left else [])


def http_requests(root: Path) -> int:
    """Return how many HTTP requests the summary counts over all sessions."""
    summary: dict[str, Any] = orjson.loads(RunFolder(root).manifest.read_bytes())["summary"]
    return int(summary["http_requests"])


def possibly_billed(root: Path) -> int:
    """Return how many requests the run says may have been billed without an answer."""
    return read_commits(RunFolder(root)).totals.possibly_billed


def _read_rows(table: Path, state: FolderState) -> list[dict[str, Any]]:
    """Read every page of every file that a glob over the table finds; return the rows of tables that have a key."""
    rows: list[dict[str, Any]] = []
    for path in sorted(table.iterdir()) if table.is_dir() else ():
        if not path.match("part-[0-9]*.parquet"):
            state.problems.append(f"{path} is no part")
            continue
        try:
            part = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
        except (OSError, pa.ArrowException) as error:
            state.problems.append(f"{path} cannot be read: {error}")
            continue
        if "key" in part.schema.names:
            rows += part.select(_COLUMNS).to_pylist()
    return rows


def _read_journal(folder: RunFolder, visible: set[str], state: FolderState) -> None:
    """Add the answers in the journal; those in segments that no commit names yet must not be anywhere else."""
    if not folder.journal.is_dir():
        return
    try:
        sealed = read_commits(folder).sealed_segments if folder.commits.is_dir() else set()
    except DamagedError as error:
        state.problems.append(error.message)
        return
    for path in list_segments(folder.journal).paths:
        for frame in scan_segment(path):
            if frame.kind not in {FrameType.ANSWER, FrameType.FAILURE}:
                continue
            meta, _, response_body = split_payload(frame.payload)
            ended = read_meta(meta)
            key = ended.key
            if int(path.stem) not in sealed:
                if key in visible and not ended.replaces:
                    state.problems.append(f"{key} will stand twice in responses: {path} holds it again")
                visible.add(key)
            if frame.kind is FrameType.ANSWER:
                state.answers[key] = CHAT_STREAM.read(response_body)[0]["id"]
