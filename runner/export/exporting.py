"""Owns an export: which lines of which run go to a stream, or to a file that is there whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner.durable import create_file, publish, storage_error, sync_file
from runner.errors import RunFolderError, UsageError
from runner.export.batch import batch_lines
from runner.export.csvtext import csv_lines
from runner.export.jsonl import json_lines
from runner.folder.layout import RunFolder
from runner.sinks import SCORES, column_names, no_such_column, open_output, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from runner.sinks import Snapshot

_BATCH: Final = "openai-batch"
# A new format is one file and one entry here.
_LINES: Final[dict[str, Callable[[Snapshot, Sequence[str]], Iterator[bytes]]]] = {
    "jsonl": json_lines,
    "csv": csv_lines,
    _BATCH: batch_lines,
}
FORMATS: Final = tuple(_LINES)


@dataclass(frozen=True, slots=True)
class Export:
    """What is exported: a run, a format, and which columns; none means all."""

    run_dir: Path
    format: str
    columns: Sequence[str] = ()


def write_to_stream(export: Export, stream: BinaryIO) -> int:
    """Write a run's lines to a stream and return how many there are. Raises RunFolderError, UsageError, DamagedError.

    What the stream raises, BrokenPipeError among it, is left to the caller.
    """
    count = 0
    for line in _lines(export):
        stream.write(line)
        count += 1
    stream.flush()
    return count


def write_to_file(export: Export, target: Path) -> int:
    """Write a run's lines to a file, in place of what is there, and return how many there are.

    It takes its name when it is complete and synced. Names that end in `.gz` or `.zst` are compressed. Raises
    CannotCreateError, StorageError, and as `write_to_stream` does.
    """
    if target.is_dir():
        raise UsageError(f"{target}: is a folder", hint="-o wants the name of a file")
    staged = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.tmp")
    os.close(create_file(staged))
    try:
        count = _fill(export, staged, target)
        sync_file(staged)
        publish(staged, target)
    except BaseException:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        raise
    return count


def _fill(export: Export, staged: Path, target: Path) -> int:
    lines = _lines(export)
    count = 0
    first = next(lines, None)  # what is wrong with the run is not the file's fault
    try:
        with open_output(staged, named=target) as stream:
            while first is not None:
                stream.write(first)
                count += 1
                first = next(lines, None)
    except OSError as error:
        raise storage_error(error, "write to", target) from error
    return count


def _lines(export: Export) -> Iterator[bytes]:
    if export.format not in _LINES:
        raise UsageError(f"--format {export.format:.60}: no such format", hint=f"one of {', '.join(FORMATS)}")
    if export.columns and export.format == _BATCH:
        raise UsageError("--columns: a line of a Batch has the same members always", hint="leave it out, or use jsonl")
    folder = RunFolder(export.run_dir)
    with take_snapshot(folder, ["responses", SCORES, *(["raw"] if export.format == _BATCH else [])]) as snapshot:
        if not snapshot.tables["responses"]:
            raise RunFolderError(
                f"{export.run_dir}: no run to export here (responses/ holds no part)",
                hint="`evalrunner status` lists the runs under outputs/",
            )
        known = column_names(snapshot)
        if unknown := [name for name in export.columns if name not in known]:
            raise no_such_column(unknown, known)
        yield from _LINES[export.format](snapshot, list(dict.fromkeys(export.columns)) or known)
