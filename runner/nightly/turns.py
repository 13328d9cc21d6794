"""Owns the turns of a night's configs: each waits for its server, runs in a process of its own, and is noted."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from runner.config import to_dict
from runner.durable import create_folder, storage_error, write_atomically
from runner.errors import RunnerError
from runner.folder.layout import RunFolder
from runner.folder.lock import is_locked
from runner.nightly.child import Stop, run_child, signal_name, wait_for_any, watch_signals
from runner.nightly.outcome import INCOMPLETE, RUNNING, SCORE_GATE, state_of, words
from runner.nightly.readiness import wait_for_server
from runner.nightly.record import write_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.nightly.child import Ended
    from runner.nightly.record import ConfigRecord, NightRecord
    from runner.nightly.suite import Member, Suite
    from runner.nightly.ways import Ways

_INTERNAL, _TERMINATED = 1, (130, 143)
_LOOK_S = 0.5
# A process whose night was killed ends by itself so long after the deadline.
_ORPHAN_S = 120.0
_SUMMARY = ("status", "samples", "ok", "failed", "total_tokens", "cost_usd", "scores", "gates")


@dataclass(slots=True)
class Keeper:
    """A night's record and where it is kept; what keeps it from being kept is noted, and the night goes on."""

    suite: Suite
    record: NightRecord
    say: Callable[[str], None]
    trouble_codes: list[int] = field(default_factory=list)

    def save(self) -> None:
        """Write the record."""
        try:
            write_record(self.suite.folder, self.record)
        except RunnerError as error:
            self.note(error)

    def note(self, error: RunnerError) -> None:
        """Note a trouble of the night itself."""
        self.trouble_codes.append(error.exit_code)
        if error.message not in self.record.troubles:
            self.record.troubles.append(error.message)
            self.say(error.message)


def take_turns(keeper: Keeper, ways: Ways) -> None:
    """Run every config that is not finished, in order, until the night's end or a signal."""
    anyio.run(_take_turns, keeper, ways, backend="asyncio")


async def _take_turns(keeper: Keeper, ways: Ways) -> None:
    stop = Stop()
    async with anyio.create_task_group() as group:
        ready = anyio.Event()
        group.start_soon(watch_signals, stop, keeper.say, ready)
        await ready.wait()
        members = {member.config.name: member for member in keeper.suite.members}
        for one in keeper.record.configs:
            if not one.finished:
                await _take_turn(keeper, members[one.name], one, ways, stop)
        group.cancel_scope.cancel()
    if stop.exit_code is not None:
        keeper.trouble_codes.append(stop.exit_code)


async def _take_turn(keeper: Keeper, member: Member, one: ConfigRecord, ways: Ways, stop: Stop) -> None:
    record = keeper.record
    began = ways.now()
    one.told, one.comparison = False, None

    def left_s() -> float:
        return (record.end - ways.now()).total_seconds()

    def patient_s() -> float:
        return min(left_s(), ways.server_wait_s - (ways.now() - began).total_seconds())

    if stop.came.is_set() or left_s() <= 0:
        _note(one, stop.exit_code or INCOMPLETE, "not started: the night was over")
        keeper.save()
        return
    one.state, one.started_at = RUNNING, began.astimezone(UTC).isoformat(timespec="seconds")
    keeper.save()
    one.waited_s = await wait_for_server(member.config, patient_s, stop)
    await _wait_for_run(one, patient_s, stop)
    keeper.say(f"{one.name}: running")
    try:
        config = _write_config(keeper, member, left_s())
        one.calls += 1
        command = (*ways.command, "run", str(config), "--run-id", record.run_id, "--json")
        ended = await run_child(command, Path(one.log), left_s, stop, ways.patience)
        _judge(one, ended, stop)
    except RunnerError as error:
        _note(one, error.exit_code, error.message, error.hint)
    except OSError as error:
        trouble = storage_error(error, "start a run with", Path(one.log))
        _note(one, trouble.exit_code, trouble.message, trouble.hint)
    finished = ways.now()
    one.duration_s = round(one.duration_s + (finished - began).total_seconds(), 3)
    one.ended_at = finished.astimezone(UTC).isoformat(timespec="seconds")
    keeper.say(f"{one.name}: {one.verdict}")
    keeper.save()


async def _wait_for_run(one: ConfigRecord, left_s: Callable[[], float], stop: Stop) -> None:
    """Wait while another process holds the run: what a night that was killed had started, and goes on by itself."""
    while is_locked(RunFolder(Path(one.run_dir))) and left_s() > 0 and not await wait_for_any(stop, _LOOK_S):
        pass


def _write_config(keeper: Keeper, member: Member, left_s: float) -> Path:
    """Write the config that the process is started with: one of a matrix is whole by itself, and paths are absolute."""
    values = to_dict(member.config)
    own: float | None = values["budget"]["max_wall_s"]
    values["budget"]["max_wall_s"] = min(left_s + _ORPHAN_S, own or left_s + _ORPHAN_S)
    path = keeper.suite.folder.config(keeper.record.run_id, member.config.name)
    create_folder(path.parent)
    write_atomically(path, orjson.dumps(values, option=orjson.OPT_INDENT_2), staging=keeper.suite.folder.staging)
    return path


def _judge(one: ConfigRecord, ended: Ended, stop: Stop) -> None:
    """Note how a process ended. One that was ended by us, or at the deadline, is incomplete and resumable."""
    output = ended.output or {}
    error: dict[str, Any] = output.get("error") or {}
    for key in _SUMMARY:
        if key in output:
            setattr(one, key, output[key])
    code, message = ended.code, str(error.get("message") or "")
    if not error and code not in (0, SCORE_GATE, *_TERMINATED):  # of a score gate the gate itself tells
        message = str((output.get("warnings") or [""])[-1])
    if stop.exit_code is not None and code in (*_TERMINATED, -signal.SIGTERM, -signal.SIGKILL):
        code, message = stop.exit_code, "ended before it was complete, by a signal to the night"
    elif ended.late and (code in _TERMINATED or code < 0):
        code, message = INCOMPLETE, "not complete when the night was over"
    elif code < 0:
        code, message = _INTERNAL, f"its process was ended by {signal_name(-code)}; the next call goes on"
    _note(one, code, message, str(error.get("hint") or ""))


def _note(one: ConfigRecord, exit_code: int, message: str, hint: str = "") -> None:
    one.exit_code, one.state = exit_code, state_of(exit_code)
    one.verdict, one.message, one.hint = words(exit_code), message, hint
