"""Owns the review of a night's runs, each step in a process of its own: compared with the last good run, reported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from runner.comparison import last_good
from runner.errors import RunnerError
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from runner.nightly.child import Stop, run_child, signal_name, watch_signals
from runner.nightly.compared import MOST_FLIPS, kept
from runner.nightly.outcome import SCORE_GATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.nightly.child import Ended
    from runner.nightly.record import ConfigRecord
    from runner.nightly.suite import Member
    from runner.nightly.turns import Keeper
    from runner.nightly.ways import Ways


def review(keeper: Keeper, ways: Ways) -> None:
    """Compare every finished run that has scores with an earlier one, and have a page made of every run.

    Whatever goes wrong here is a note of the config and changes no exit code; it takes twice `ways.review_s` at most.
    """
    anyio.run(_review, keeper, ways, backend="asyncio")


def baseline_of(member: Member, one: ConfigRecord) -> Path | None:
    """Return the run to compare with: the one that `gates.baseline` names, else the last good one; null: there is none.

    Raises RunFolderError.
    """
    named = member.config.gates.named_baseline
    if named is not None:
        return Path(named)
    return last_good(member.runs, read_manifest(RunFolder(Path(one.run_dir))))


async def _review(keeper: Keeper, ways: Ways) -> None:
    stop, last = Stop(), anyio.current_time() + 2 * ways.review_s
    members = {member.config.name: member for member in keeper.suite.members}
    async with anyio.create_task_group() as group:
        ready = anyio.Event()
        group.start_soon(watch_signals, stop, keeper.say, ready)
        await ready.wait()
        for one in keeper.record.configs:
            one.notes = []
            if one.finished and one.scores and one.comparison is None:
                await _compare(members[one.name], one, _Process(one, ways, stop, last))
            if ways.reports and one.status is not None:
                await _report(one, _Process(one, ways, stop, last))
        group.cancel_scope.cancel()


class _Process:
    """Runs one step of the review of a config: bounded in time, what it says in the config's log."""

    def __init__(self, one: ConfigRecord, ways: Ways, stop: Stop, last: float) -> None:
        self._log, self._ways, self._stop, self._last = Path(one.log), ways, stop, last

    async def output_of(self, *arguments: str) -> dict[str, Any]:
        """Return the JSON object that a command prints. Raises RunnerError, whatever else becomes of the command.

        Exit 4 is a result, too: `compare` judges the run's gates by what it compares.
        """
        if self._stop.came.is_set():
            raise RunnerError("ended by a signal to the night")
        last = min(self._last, anyio.current_time() + self._ways.review_s)
        command = (*self._ways.command, *arguments, "--json")
        try:
            ended = await run_child(command, self._log, _left_until(last), self._stop, self._ways.patience)
        except OSError as error:
            raise RunnerError(f"its process could not be started: {error.strerror}") from error
        if ended.code not in (0, SCORE_GATE) or ended.output is None:
            raise RunnerError(self._what_became(ended))
        return ended.output

    def _what_became(self, ended: Ended) -> str:
        if self._stop.came.is_set():
            return "ended by a signal to the night"
        if ended.late:
            return "not done in time"
        if ended.code < 0:
            return f"its process was ended by {signal_name(-ended.code)}"
        error = (ended.output or {}).get("error")
        return str(error.get("message")) if isinstance(error, dict) else f"it printed no result (exit {ended.code})"


def _left_until(last: float) -> Callable[[], float]:
    return lambda: last - anyio.current_time()


async def _compare(member: Member, one: ConfigRecord, process: _Process) -> None:
    try:
        base = await anyio.to_thread.run_sync(baseline_of, member, one)
        if base is None:
            one.notes.append("not compared: no earlier run of it was good")
            return
        flips = str(MOST_FLIPS)
        one.comparison = kept(await process.output_of("compare", str(base), one.run_dir, "--flips", flips))
    except RunnerError as error:
        one.notes.append(f"not compared: {error.message}")
    except (KeyError, TypeError, AttributeError):
        one.notes.append("not compared: what the command compare printed is no comparison")


async def _report(one: ConfigRecord, process: _Process) -> None:
    page = Path(one.run_dir) / "report.html"
    try:
        await process.output_of("report", one.run_dir)
    except RunnerError as error:
        one.notes.append(f"no report: {error.message}")
    one.report = str(page) if page.exists() else None
