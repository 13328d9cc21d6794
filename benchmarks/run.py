"""Runs all benchmarks one after the other and writes their results to stdout as one Markdown table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.options import read_options
from support.results import HEADERS
from support.static_server import find_nginx

_HERE = Path(__file__).parent
_BENCHMARKS = (
    "request_cost.py",
    "embedding_packing.py",
    "memory.py",
    "resume_time.py",
    "journal_rate.py",
    "scoring.py",
    "loading.py",
    "comparing.py",
    "report.py",
    "request_rate.py",
    "crowded_server.py",
    "shared_limit.py",
)


def main() -> None:
    """Run each benchmark in a process of its own: a peak of memory is never below that of the process before it."""
    options = read_options(__doc__ or "")
    find_nginx()
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    print(f"\n| {' | '.join(HEADERS)} |")
    print(f"|{' --- |' * len(HEADERS)}", flush=True)
    for name in _BENCHMARKS:
        command = [
            sys.executable,
            str(_HERE / name),
            f"--{options.size.value}",
            "--json",
            "--cache",
            str(options.cache),
        ]
        for one in _results([part for part in command if part != "--default"]):
            print(f"| {' | '.join(str(value) for value in one.values())} |", flush=True)


def _results(command: list[str]) -> list[dict[str, Any]]:
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if finished.returncode != 0:
        sys.exit(finished.returncode)
    results: list[dict[str, Any]] = json.loads(finished.stdout)
    return results


if __name__ == "__main__":
    main()
