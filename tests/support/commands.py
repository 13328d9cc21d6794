"""Owns starting the command as its users do, a process of its own, and what must hold for whatever it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 60
# What a terminal obeys, written by us or by a model.
_ESCAPES = ("\x1b", "\x9b", "\x07")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout; anything else there is an error."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


def evalrunner(*arguments: object, cwd: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Finished:
    """Run a command to its end. No traceback and no escape sequence may be in what it prints."""
    finished = subprocess.run(
        _command(arguments),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        check=False,
        env=_environment(env or {}),
        timeout=_PATIENCE_S,
    )
    return judged(Finished(finished.returncode, finished.stdout.decode(), finished.stderr.decode()))


@contextmanager
def started(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start a command and leave it to the test; it is killed when the context ends."""
    with subprocess.Popen(
        _command(arguments),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(env or {}),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str]) -> Finished:
    """Wait for a command that was started."""
    out, err = process.communicate(timeout=_PATIENCE_S)
    return judged(Finished(process.returncode, out, err))


def judged(finished: Finished) -> Finished:
    """Return what a command printed, once it is found fit for people."""
    assert "Traceback" not in finished.err, finished.err
    assert "internal error" not in finished.out + finished.err, finished.out + finished.err
    assert not any(escape in finished.out + finished.err for escape in _ESCAPES), finished
    return finished


def one_message(finished: Finished) -> str:
    """Return the error that a command ended with: there is one, and nothing on stdout."""
    assert finished.out == ""
    assert finished.err.count("error: ") == 1, finished.err
    return finished.err


def _command(arguments: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-m", "runner", *map(str, arguments)]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::ResourceWarning", **more}
