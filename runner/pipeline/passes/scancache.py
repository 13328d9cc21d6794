"""Owns remembering the first pass: a dataset file that is what it was, or only grew, is not parsed again.

The run folder keeps the row index of its last scan with digests of the file in blocks that end at line ends. A later
session reads the file's bytes, compares the digests, and parses only what comes behind the last block that is the same.
What is remembered is only ever used when the bytes are equal, so it can be stale, damaged or gone without harm.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import orjson

from runner.durable import create_folder, remove
from runner.errors import RunnerError
from runner.pipeline.passes.fileblocks import FileBlock, begins_with, path_ends_line, read_blocks
from runner.pipeline.passes.rowindex import RowIndex
from runner.pipeline.passes.scan import BadPlace, Scan, scan_appended, single_jsonl

if TYPE_CHECKING:
    from pathlib import Path

    from runner.folder.layout import RunFolder
    from runner.pipeline.passes.scan import ScanPlan

# More new bytes than this, and a full scan is as quick.
_MOST_APPENDED_BYTES = 16 * 1024 * 1024
# Smaller datasets are scanned in no time.
_FEWEST_ROWS = 20_000
_SHORTEST_LINE_BYTES = 2
_VERSION = 2
_ARRAYS = ("high", "low", "carry", "rows", "repeated_rows", "occurrences")


def save_scan(folder: RunFolder, scan_plan: ScanPlan, scan: Scan) -> None:
    """Remember a scan where that can help: one plain JSONL file, large enough, each line of it a row. Never fails."""
    path = single_jsonl(scan_plan)
    if (
        path is None
        or scan.index.rows_total < _FEWEST_ROWS
        or sum(b.lines for b in scan.blocks) != scan.index.rows_total
    ):
        return  # with blank lines, or a last line that may still grow, rows cannot be told from line ends
    with contextlib.suppress(OSError, RunnerError):
        compared = sum(block.size for block in scan.blocks[: scan.compared])
        if not path_ends_line(path) or read_blocks(path, compared) != scan.blocks[scan.compared :]:
            return  # it changed while it was read
        create_folder(folder.scan)
        about = {
            "version": _VERSION,
            "plan": _plan_digest(scan_plan),
            "blocks": [[block.size, block.lines, block.digest] for block in scan.blocks],
            "rows_total": scan.index.rows_total,
            "samples": scan.samples,
            "bad_rows": scan.bad_rows,
            "bad_shown": [[place.source, place.reason] for place in scan.bad_shown],
            "columns": dict(scan.columns),
        }
        arrays = {name: getattr(scan.index, name) for name in _ARRAYS}
        target = folder.scan / "rows.npz"
        remove(target)
        with target.open("wb") as file:
            np.savez(file, about=np.frombuffer(orjson.dumps(about), dtype=np.uint8), ids=scan.ids, **arrays)


def scan_again(folder: RunFolder, scan_plan: ScanPlan) -> Scan | None:
    """Return the scan of a dataset that is known, or known but for rows at its end; null: it has to be read anew."""
    path = single_jsonl(scan_plan)
    if path is None:
        return None
    try:
        known = _read_known(folder, scan_plan, path)
    except Exception:  # noqa: BLE001 - whatever is wrong with what is remembered, the dataset is there to be read
        return None
    if known is None or known.new_bytes == 0:
        return known.scan if known else None
    if scan_plan.plan.id_column is None or known.scan.bad_rows or known.new_bytes > _MOST_APPENDED_BYTES:
        return None
    return scan_appended(scan_plan, known.scan, known.new_bytes // _SHORTEST_LINE_BYTES + 1)


@dataclass(frozen=True, slots=True)
class _Known:
    """A scan that holds for the file's beginning; `new_bytes` come behind it."""

    scan: Scan
    new_bytes: int


def _read_known(folder: RunFolder, scan_plan: ScanPlan, path: Path) -> _Known | None:
    with (folder.scan / "rows.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
        about = orjson.loads(stored["about"].tobytes())
        if about["version"] != _VERSION or about["plan"] != _plan_digest(scan_plan):
            return None
        blocks = tuple(FileBlock(*block) for block in about["blocks"])
        same_bytes = sum(block.size for block in blocks)
        if not begins_with(path, blocks):
            return None
        index = RowIndex(**{name: stored[name] for name in _ARRAYS}, rows_total=about["rows_total"])
        shown = tuple(BadPlace(*place) for place in about["bad_shown"])
        scan = Scan(
            index, about["samples"], about["bad_rows"], shown, about["columns"], stored["ids"], blocks, len(blocks)
        )
    return _Known(scan, path.stat().st_size - same_bytes)


def without_ids(scan: Scan) -> Scan:
    """Return the scan without the ids' checksums, which are of use only until it is remembered."""
    return replace(scan, ids=scan.ids[:0].copy())


def _plan_digest(scan_plan: ScanPlan) -> str:
    plan = scan_plan.plan
    carried = orjson.dumps([plan.id_column, plan.target_column, plan.kept, dict(scan_plan.kinds)])
    return blake2b(plan.request_digest + carried, digest_size=16).hexdigest()
