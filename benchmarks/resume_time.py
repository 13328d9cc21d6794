"""Measures how long a run that is done takes to find ten appended rows, against reading, parsing and hashing all rows.

The time runs from the start of the command to the first request that the server sees. The run that is done is built
once, against nginx, and kept under `--cache`; each measurement continues a copy of it.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from support.first_request import first_request_server
from support.options import Size, read_options
from support.processes import evalrunner, measure, script
from support.results import Result, ratio, report, say
from support.static_server import CHAT, find_nginx, static_server
from support.workload import PARAMS, write_config, write_rows

if TYPE_CHECKING:
    from support.options import Options
    from support.processes import Measured

_TARGET = "≤ 2.0 for the wall time"
_ROWS = {Size.SMALL: 100_000, Size.DEFAULT: 100_000, Size.FULL: 1_000_000}
_PAIRS = {Size.SMALL: 1, Size.DEFAULT: 5, Size.FULL: 5}
_APPENDED = 10
# The address is part of a run's identity: it has to be the same for building and for measuring.
_PORT = 18_765
# Never written again once they are in place, so a copy of the run may share them.
_IMMUTABLE = frozenset({".parquet", ".npy"})


@dataclass(frozen=True, slots=True)
class Built:
    """A run that is done, and its dataset with rows that were appended since."""

    folder: Path

    @property
    def dataset(self) -> Path:
        """The dataset, appended rows and all."""
        return self.folder / "rows.jsonl"

    @property
    def config(self) -> Path:
        """The config of the run."""
        return self.folder / "config.yaml"

    @property
    def run_dir(self) -> Path:
        """The run folder; never continued itself."""
        return self.folder / "run"

    @property
    def answer(self) -> Path:
        """The body that the server answers with."""
        return self.folder / "nginx" / "chat.json"


def main() -> None:
    """Build the run unless it is there, then measure."""
    options = read_options(__doc__ or "")
    built = _build(options)
    ours: list[Measured] = []
    peers: list[Measured] = []
    first_s: list[float] = []
    pairs = _PAIRS[options.size]
    with options.scratch() as scratch:
        for pair in range(pairs):
            say(f"resume_time: pair {pair + 1} of {pairs}")
            measured, first = _resume(built, Path(scratch))
            ours.append(measured)
            first_s.append(first)
            peers.append(measure(script("bare_reader.py", built.dataset), Path(scratch) / "peer.log"))
    report(_results(options, ours, peers, first_s), as_json=options.as_json)


def _results(options: Options, ours: list[Measured], peers: list[Measured], first_s: list[float]) -> list[Result]:
    what = f"{_ROWS[options.size]:,} rows done"
    peer_wall, our_cpu, peer_cpu = (
        [one.wall_s for one in peers],
        [one.cpu_s for one in ours],
        [one.cpu_s for one in peers],
    )
    return [
        Result(
            f"time to the first new request, {what}",
            f"{median(first_s):.2f} s",
            f"{median(peer_wall):.2f} s",
            ratio(first_s, peer_wall),
            _TARGET,
        ),
        Result(
            f"processor time of the whole command, {what}",
            f"{median(our_cpu):.2f} s",
            f"{median(peer_cpu):.2f} s",
            ratio(our_cpu, peer_cpu),
            _TARGET,
        ),
        Result(
            f"the whole command, {what}",
            f"{median(one.wall_s for one in ours):.2f} s, {max(one.peak_bytes for one in ours) / 2**20:.0f} MB",
            f"{median(peer_wall):.2f} s, {max(one.peak_bytes for one in peers) / 2**20:.0f} MB",
            "",
        ),
    ]


def _build(options: Options) -> Built:
    """Return the built run; a run that was cut short is built anew."""
    rows = _ROWS[options.size]
    built = Built(options.cache / f"resume-{rows}")
    ready = built.folder / "READY"
    if ready.exists():
        return built
    find_nginx()
    say(f"resume_time: building a run of {rows:,} rows in {built.folder}; it is kept for the next time")
    shutil.rmtree(built.folder, ignore_errors=True)
    built.folder.mkdir(parents=True)
    write_rows(built.dataset, rows)
    with static_server(built.folder / "nginx", _PORT) as url:
        write_config(built.config, built.dataset, f"{url}{CHAT}", PARAMS)
        command = evalrunner("uvloop", "run", built.config, "--run-dir", built.run_dir, "--quiet")
        measure(command, built.folder / "build.log")
    write_rows(built.dataset, _APPENDED, first=rows)
    ready.touch()
    return built


def _resume(built: Built, scratch: Path) -> tuple[Measured, float]:
    """Continue a copy of the run; return what it took and the seconds until the first request came."""
    run_dir = scratch / "run"
    shutil.copytree(built.run_dir, run_dir, copy_function=_copy)
    command = evalrunner("uvloop", "run", built.config, "--run-dir", run_dir, "--quiet")
    with first_request_server(_PORT, built.answer.read_bytes()) as server:
        begun = time.perf_counter()
        measured = measure(command, scratch / "ours.log")
    shutil.rmtree(run_dir)
    if server.count != _APPENDED or server.first_at is None:
        sys.exit(
            f"{server.count} requests came where {_APPENDED} rows were appended; if evalrunner changed how it "
            f"identifies rows, remove {built.folder} and measure again"
        )
    return measured, server.first_at - begun


def _copy(source: str, target: str) -> None:
    if Path(source).suffix in _IMMUTABLE:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


if __name__ == "__main__":
    main()
