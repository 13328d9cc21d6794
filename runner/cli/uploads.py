"""Owns what is shown while files are added: a bar on a terminal, else a line for each file."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from runner.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runner.content import Outcome, Tally

_EVERY_S = 0.25


@contextlib.contextmanager
def showing(tally: Tally, *, quiet: bool) -> Iterator[None]:
    """Show a job's counters on stderr for the length of the context."""
    console = Console(stderr=True)
    if quiet:
        yield
    elif console.is_terminal and not console.is_dumb_terminal:
        with _drawing(tally, console):
            yield
    else:
        with _repeating(_Lines(tally).show):
            yield


class _Lines:
    """Writes a line for each file that is done."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._shown = 0

    def show(self) -> None:
        """Write what is new."""
        fresh = self._tally.done[self._shown :]
        self._shown += len(fresh)
        for outcome in fresh:
            say(_line(outcome))


@contextlib.contextmanager
def _drawing(tally: Tally, console: Console) -> Iterator[None]:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("{task.fields[counts]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=tally.bytes_to_send, counts="")

        def draw() -> None:
            counts = f"{len(tally.done)}/{tally.files} files, {tally.indexing} being indexed"
            progress.update(bar, total=tally.bytes_to_send, completed=tally.bytes_sent, counts=counts)

        with _repeating(draw):
            yield


@contextlib.contextmanager
def _repeating(show: Callable[[], None]) -> Iterator[None]:
    """Call `show` now and then, from a thread of its own, and once more at the end."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(_EVERY_S):
            show()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        show()


def _line(outcome: Outcome) -> str:
    return "  ".join(part for part in (outcome.result, outcome.name, outcome.id, outcome.message) if part)
