"""Owns a run folder with answers in it that no server gave: what scoring and comparing need of a run, nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

from runner.config import config_from_dict, to_dict
from runner.digest import digest128, digest_of
from runner.durable import create_folder
from runner.folder.commits import Commit, CommittedFile, read_commits, staged_path
from runner.folder.layout import SUPERSEDED, TABLES, RunFolder, part_name
from runner.folder.manifest import COMPLETE, Manifest, write_manifest
from runner.pipeline.opening import sealing_of
from runner.pipeline.storing.sealing import create_tables
from runner.sinks import PartWriter, file_crc32, table_schema

_PART_ROWS = 30_000
_GROUP_ROWS = 2_000


def main() -> None:
    """Write a run into the folder of the first argument: rows as the second says, answers as long as the third.

    With a fourth, each so many-th answer is another one, and rows have what is compared besides: latency and tokens.
    """
    folder, rows, length = RunFolder(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    other = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    values = {
        "name": "made",
        "dataset": {"path": "rows.jsonl", "id": "id", "target": "answer"},
        "model": {"base_url": "http://127.0.0.1:1/v1", "name": "m"},
        "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
        "scorers": [{"name": "exact_match"}],
    }
    config = config_from_dict(values, folder.root)
    for path in (folder.root, folder.staging, folder.journal, folder.commits):
        create_folder(path)
    for table in (*TABLES, SUPERSEDED):
        create_folder(folder.table(table))
    plain = to_dict(config)
    manifest = Manifest("made", "made", "", {}, plain, digest_of(plain).hex(), {}, {}, status=COMPLETE)
    write_manifest(folder, manifest)
    sealing = sealing_of(folder, manifest, config)
    log = read_commits(folder)
    create_tables(sealing, log)
    schema = table_schema("responses", {}, sealing.metadata)
    for number, first in enumerate(range(0, rows, _PART_ROWS), 1):
        path = staged_path(folder, log.next_number, "responses", part_name(number))
        last = min(first + _PART_ROWS, rows)
        with PartWriter(path, schema) as writer:
            for begin in range(first, last, _GROUP_ROWS):
                numbers = range(begin, min(begin + _GROUP_ROWS, last))
                writer.write_columns(_columns(numbers, length) | (_compared(numbers, other) if other else {}))
        size, crc32 = file_crc32(path)
        file = CommittedFile("responses", part_name(number), last - first, size, crc32)
        log.append(Commit(log.next_number, "seal", files=(file,)))


def _columns(numbers: range, length: int) -> dict[str, list[object]]:
    """Return answers that end with a number each, four of five right."""
    count = len(numbers)
    before = ("Because the first is larger than the second, and the third than both, it must be. " * 20)[:length]
    return {
        "key": [digest128(b"%d" % number).hex() for number in numbers],
        "sample_id": [f"row-{number}" for number in numbers],
        "repeat": [0] * count,
        "choice": [0] * count,
        "status": ["ok"] * count,
        "text": [f"{before}{number * 7919 % 100_003}" for number in numbers],
        "target": [f"{before}{number * 7919 % 100_003 + (number % 5 == 0)}" for number in numbers],
    }


def _compared(numbers: range, other: int) -> dict[str, list[object]]:
    """Return texts that are short, one of `other` off by a million, and figures that are hardly ever the same twice."""
    return {
        "text": [f"{number * 7919 % 100_003 + 1_000_000 * (number % other == 0)}" for number in numbers],
        "target": [f"{number * 7919 % 100_003 + (number % 5 == 0)}" for number in numbers],
        "latency_s": [1 + number * 7919 % 100_003 / 50_000 + 1 / other for number in numbers],
        "prompt_tokens": [20 + number % 300 for number in numbers],
        "completion_tokens": [5 + number * 31 % (300 + other) for number in numbers],
    }


if __name__ == "__main__":
    main()
