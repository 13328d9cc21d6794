"""Owns the file that `--junit` names: whether it can be written is known before anything is paid for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from runner.durable import create_folder, remove, write_atomically
from runner.errors import CannotCreateError, RunnerError
from runner.junit import junit_xml
from runner.pipeline.gatecases import failed_suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.junit import Suite


def make_way(path: Path) -> None:
    """Make the folder of a file to be, and remove what stands there: it would tell of another run.

    Raises CannotCreateError, StorageError.
    """
    if path.is_dir():
        raise CannotCreateError(f"--junit {path}: is a folder", hint="name a file, e.g. --junit results.xml")
    create_folder(path.absolute().parent)
    remove(path)


def write_junit(path: Path, suite: Suite) -> None:
    """Write a suite as JUnit XML. Raises CannotCreateError, StorageError."""
    write_atomically(path.absolute(), junit_xml([suite]), staging=path.absolute().parent)


@contextlib.contextmanager
def telling_errors(path: Path | None, name: str) -> Iterator[None]:
    """Let an error that prevents a run or a comparison be a case of the file, where there is to be one."""
    try:
        yield
    except RunnerError as error:
        if path is not None:
            write_junit(path, failed_suite(name, f"{error.message}\n{error.hint}".rstrip()))
        raise
