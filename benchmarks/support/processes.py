"""Owns the measuring of whole processes: wall clock, processor time and peak memory of a command with its children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SUPPORT = Path(__file__).parent
# Linux counts in KiB, macOS in bytes.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """One process: seconds on the wall, seconds of processor (user and system), most memory resident in bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def evalrunner(loop: str, *arguments: str | Path) -> list[str]:
    """Return the command line of evalrunner on an event loop, `asyncio` or `uvloop`."""
    return [sys.executable, str(SUPPORT / "launch.py"), loop, *map(str, arguments)]


def script(name: str, *arguments: str | Path) -> list[str]:
    """Return the command line of a script in this folder."""
    return [sys.executable, str(SUPPORT / name), *map(str, arguments)]


def measure(command: Sequence[str], log: Path) -> Measured:
    """Run a command to its end; its output goes to `log`. Exits where the command fails.

    The peak is never below that of the process that starts the command, so whoever calls this stays small.
    """
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here, not by Popen
    if process.returncode != 0:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}:\n{tail}")
    return Measured(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _RSS_UNIT)
