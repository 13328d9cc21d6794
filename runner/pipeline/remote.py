"""Owns talking to the process that runs a run: a command goes out, an answer comes in, or why nobody answers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import orjson

from runner.errors import NotRunningError, RunnerError, UsageError
from runner.folder.controlsocket import exchange, supported
from runner.folder.lock import is_locked
from runner.folder.manifest import read_manifest
from runner.pipeline.sending.steering import line_of

if TYPE_CHECKING:
    from runner.folder.layout import RunFolder
    from runner.folder.manifest import Manifest
    from runner.pipeline.sending.steering import Command

_PATIENCE_S = 10.0


def ask(folder: RunFolder, command: Command) -> dict[str, Any]:
    """Let a running run do what a command says, and return how things stand after it.

    Raises RunFolderError where the folder holds no run, NotRunningError where nobody answers, and UsageError for what
    the run refuses.
    """
    manifest = read_manifest(folder)
    if not supported():
        raise NotRunningError(
            "this system has no unix sockets, by which a running run is steered",
            hint="interrupt the run, and run it again with other limits (--set limits.max_in_flight=8)",
        )
    try:
        reply = orjson.loads(exchange(folder, line_of(command), timeout_s=_PATIENCE_S))
    except TimeoutError as error:
        raise NotRunningError(
            f"{folder.root}: the run's process does not answer ({_PATIENCE_S:g} s)",
            hint="is it stopped (Ctrl-Z, SIGSTOP), or its machine asleep?",
        ) from error
    except PermissionError as error:
        raise NotRunningError(
            f"{folder.root}: the run is another user's", hint="who started it may steer it, and root"
        ) from error
    except OSError as error:
        raise _nobody(folder, manifest) from error
    except ValueError as error:
        raise NotRunningError(f"{folder.control}: whoever listens there is no run of this version") from error
    return _taken(reply)


def _taken(reply: Any) -> dict[str, Any]:
    """Return an answer. Raises what the run's process answered in its place."""
    error = reply.get("error") if isinstance(reply, dict) else {"message": "the answer is no object"}
    if error is None:
        return dict(reply)
    kind = RunnerError if error.get("code") == "runner" else UsageError
    raise kind(str(error.get("message")), hint=str(error.get("hint") or ""))


def _nobody(folder: RunFolder, manifest: Manifest) -> NotRunningError:
    """Say why nobody listens."""
    last = manifest.sessions[-1] if manifest.sessions else None
    if last is not None and last.ended_at is None and last.host != socket.gethostname():
        return NotRunningError(
            f"{folder.root}: was begun on {last.host} (process {last.pid}), and this is {socket.gethostname()}",
            hint=f"a running run is steered on its own machine: give the command on {last.host}",
        )
    if is_locked(folder):
        return NotRunningError(
            f"{folder.root}: the process that holds the run takes no commands now; it prepares, or is about to end",
            hint="try again in a moment; run.log.jsonl says so if the run cannot be steered at all",
        )
    return NotRunningError(
        f"{folder.root}: no process is running this run", hint=f"evalrunner resume {folder.root} goes on with it"
    )
