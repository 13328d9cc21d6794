"""Owns the file that `--junit` names: made way for before anything is paid for, written however it all ended."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from runner.durable import create_folder, remove, write_atomically
from runner.errors import CannotCreateError, RunnerError
from runner.junit import junit_xml
from runner.pipeline.scores.gatecases import failed_suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.junit import Suite


@contextlib.contextmanager
def collected_suites(path: Path | None, name: str) -> Iterator[list[Suite]]:
    """Yield a list for suites, which become the file when all is over; null: there is to be none.

    An error before there is any suite is told under `name`. Raises CannotCreateError, StorageError.
    """
    suites: list[Suite] = []
    if path is None:
        yield suites
        return
    _make_way(path)
    try:
        yield suites
    except RunnerError as error:
        if not suites:
            suites.append(_told(error, name))
        raise
    finally:
        write_atomically(path.absolute(), junit_xml(suites), staging=path.absolute().parent)


@contextlib.contextmanager
def telling_errors(suites: list[Suite], name: str) -> Iterator[None]:
    """Let an error that prevents a run be a suite like the others."""
    try:
        yield
    except RunnerError as error:
        suites.append(_told(error, name))
        raise


def _make_way(path: Path) -> None:
    """Make the folder of the file, and remove what stands there: it would tell of another run."""
    if path.is_dir():
        raise CannotCreateError(f"--junit {path}: is a folder", hint="name a file, e.g. --junit results.xml")
    create_folder(path.absolute().parent)
    remove(path)


def _told(error: RunnerError, name: str) -> Suite:
    return failed_suite(name, f"{error.message}\n{error.hint}".rstrip())
