"""Owns the programs that kill tests start: the simulated server with its ledger, and the driver that forks commands."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from tests.support.kill_driver import Job

ROOT = Path(__file__).resolve().parents[2]
_LINE_BYTES = 65


@dataclass(frozen=True, slots=True)
class Server:
    """A simulated server in a process of its own: what it says of itself outlives every kill."""

    base_url: str
    ledger: Path

    def arrived(self) -> int:
        """Count the requests that arrived so far."""
        path = self._arrivals
        return path.stat().st_size // _LINE_BYTES if path.exists() else 0

    def arrivals_of(self, digests: Iterable[str]) -> int:
        """Count the requests whose digest is one of these."""
        wanted = set(digests)
        return sum(line in wanted for line in self._arrivals.read_text().split())

    def answered(self) -> set[str]:
        """Return the digests of all requests that got a 200 with an answer."""
        return set(self.ledger.read_text().split())

    @property
    def _arrivals(self) -> Path:
        return self.ledger.with_name(f"{self.ledger.name}.arrivals")


def run_program(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `evalrunner` as its users do, a process of its own, and return its exit code."""
    command = [sys.executable, "-m", "runner", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode


@contextlib.contextmanager
def open_server(folder: Path, *options: str) -> Iterator[Server]:
    """Serve until the context ends, with the options of `evalrunner simulate`."""
    ledger = folder / "ledger"
    command = [sys.executable, "-m", "runner", "simulate", "--port", "0", "--ledger", str(ledger), *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Server(process.stdout.readline().split()[1], ledger)
        finally:
            process.kill()


class Driver:
    """A driver process: carries out one command after the other, each in a forked child."""

    def __init__(self) -> None:
        script = str(Path(__file__).with_name("kill_driver.py"))
        environment = {name: value for name, value in os.environ.items() if name != "EVALRUNNER_CRASH_AT"}
        environment["PYTHONPATH"] = str(ROOT)
        self._process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the driver."""
        with self._process:
            self._process.kill()

    def run(self, job: Job) -> int:
        """Carry out a command and return its exit code; negative is the signal that ended it."""
        self.start(job)
        return self.wait()

    def start(self, job: Job) -> int:
        """Start a command and return its process id; `wait` has to follow."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        return self._read()

    def wait(self) -> int:
        """Return the exit code of the command that was started."""
        code = self._read()
        assert code != -signal.SIGALRM, "the command hung"
        return code

    def kill_after(self, child: int, after_s: float) -> int:
        """Kill the command that was started, so long from now unless it ends before; return its exit code."""
        assert self._process.stdout is not None
        ended, _, _ = select.select([self._process.stdout], [], [], after_s)
        if not ended:
            os.kill(child, signal.SIGKILL)
        return self.wait()

    def _read(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the driver died"
        return int(line)
