"""Measures whether several processes with one key stay together under one limit, fairly, and what a killed one leaves.

Four runs of evalrunner, each a process of its own, ask a strict simulator that permits 6,000 requests a minute. The
total is what the simulator charged, a process's share is counted in the attempts of its own run folder (that of the
one that is killed is the rest). The first 10 s count for nothing. Then one process is killed (SIGKILL), and the three
others are looked at from 2 s later on. The peer is the same four with a cache of its own each, so that they know
nothing of each other.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from support.heat import kill
from support.options import Size, read_options
from support.processes import evalrunner
from support.rehearsal import books, rehearsal, wait_for_first_request
from support.results import Result, report, say
from support.workload import write_rate_config, write_rows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_PROCESSES = 4
_PER_MINUTE = 6_000
_STRICT = ("--requests-per-minute", str(_PER_MINUTE), "--burst", "1", "--first-token", "0.05..0.1")
_WARM_UP_S = 10
_SECONDS = {Size.SMALL: 10, Size.DEFAULT: 50, Size.FULL: 110}
_RETURNED_S = 2
_MORE_S = 20


@dataclass(frozen=True, slots=True)
class Span:
    """What was seen in a span: the fraction used and that of 429s, all together, and each process by its even part."""

    used: float
    refused: float
    parts: tuple[float, ...]

    @property
    def total(self) -> str:
        """All together."""
        return f"{self.used:.1%}, {self.refused:.2%} 429s"

    @property
    def shares(self) -> str:
        """Each of them."""
        return ", ".join(f"{part:.2f}" for part in self.parts)


@dataclass(frozen=True, slots=True)
class Found:
    """Both spans: of all processes, and after one was killed."""

    whole: Span
    later: Span


def main() -> None:
    """Measure the four that share, and the four that do not."""
    options = read_options(__doc__ or "")
    seconds = _SECONDS[options.size]
    with options.scratch() as scratch:
        ours = _measure(Path(scratch), seconds, shared=True)
        peer = _measure(Path(scratch), seconds, shared=False)
    name = f"{_PROCESSES} processes, one key, {_PER_MINUTE:,} requests a minute"
    report(
        [
            *_results(name, ours.whole, peer.whole),
            *_results(f"{name}, from {_RETURNED_S} s after one was killed", ours.later, peer.later),
        ],
        as_json=options.as_json,
    )


def _results(name: str, ours: Span, peer: Span) -> tuple[Result, Result]:
    return (
        Result(f"{name}: used together", ours.total, f"not shared: {peer.total}", ours.total, "98 % to 102 %"),
        Result(
            f"{name}: each by its even part", ours.shares, f"not shared: {peer.shares}", ours.shares, "0.85 to 1.15"
        ),
    )


def _measure(folder: Path, seconds: int, *, shared: bool) -> Found:
    say(f"shared_limit: {_PROCESSES} processes, {'shared' if shared else 'not shared'}, twice {seconds} s")
    kill_s = _WARM_UP_S + seconds
    end_s = kill_s + _RETURNED_S + seconds
    spans = ((_WARM_UP_S, kill_s), (kill_s + _RETURNED_S, end_s))
    homes = [folder / f"process-{number}" for number in range(_PROCESSES)]
    for home in homes:
        home.mkdir()
        write_rows(home / "rows.jsonl", _PER_MINUTE // 60 * (end_s + _MORE_S))
    with rehearsal(_STRICT, folder / "server.log") as url:
        clients = [_start(home, url, (folder if shared else home) / "cache") for home in homes]
        try:
            begun = wait_for_first_request(url, clients[0])
            _sleep_until(begun + kill_s)
            kill(clients[-1])
            _sleep_until(begun + end_s)
            begun += time.time() - time.monotonic()
            found = [books(url, f"/rates?from_s={begin}&until_s={end}") for begin, end in spans]
            for client in clients[:-1]:
                client.send_signal(signal.SIGINT)
            for client in clients[:-1]:
                client.wait()
        finally:
            for client in clients:
                kill(client)
    answered = [_answered_at(home / "run") for home in homes[:-1]]
    for left in (*homes, folder / "cache"):
        shutil.rmtree(left, ignore_errors=True)
    return Found(
        *(
            _span_of(one, [((begun + begin <= at) & (at < begun + end)).sum() for at in answered], killed=killed)
            for one, (begin, end), killed in zip(found, spans, (True, False), strict=True)
        )
    )


def _start(home: Path, url: str, cache: Path) -> subprocess.Popen[bytes]:
    config = home / "config.yaml"
    write_rate_config(config, home / "rows.jsonl", url, {"requests_per_minute": _PER_MINUTE})
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    command = evalrunner(loop, "run", config, "--run-dir", home / "run", "--quiet")
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    with (home / "client.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _answered_at(run_dir: Path) -> npt.NDArray[np.float64]:
    """Return when each request was sent that was answered, in seconds of the epoch."""
    attempts = pq.read_table(run_dir / "attempts", columns=["started_at", "http_status"])
    answered = attempts.filter(pc.equal(attempts["http_status"], 200))
    return answered["started_at"].cast("int64").to_numpy() / 1e6


def _span_of(found: dict[str, Any], counts: list[int], *, killed: bool) -> Span:
    requests = found["limits"]["requests"]
    if killed:
        counts = [*counts, requests["charged"] - sum(counts)]
    even = max(1, sum(counts)) / len(counts)
    parts = tuple(count / even for count in counts)
    return Span(requests["used_fraction"], found["refused_fraction"], parts)


if __name__ == "__main__":
    main()
