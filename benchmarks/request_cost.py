"""Measures what one request costs in processor time, against a bare aiohttp loop that keeps nothing.

Cost is marginal: a long run less a short one, whole processes with their children, so that start-up cancels out; it is
shown apart. Both sides alternate, and the ratio is the median over the pairs.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Self

from support.options import Size, read_options
from support.processes import evalrunner, measure, script
from support.results import Result, ratio, report, say
from support.static_server import CHAT, find_nginx, static_server
from support.workload import PARAMS, write_config, write_rows

if TYPE_CHECKING:
    from support.options import Options
    from support.processes import Measured

# On uvloop the network is cheaper for both, and everything else is what it was.
_TARGETS = {"asyncio": "≤ 1.5", "uvloop": ""}
_PAIRS = {Size.SMALL: 1, Size.DEFAULT: 5, Size.FULL: 5}
_SHORT_ROWS = {Size.SMALL: 2_000, Size.DEFAULT: 20_000, Size.FULL: 20_000}


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything is: one dataset and one config for each number of rows."""

    folder: Path
    url: str

    def prepare(self, rows: int) -> None:
        """Write the dataset and the config of a run over `rows` rows."""
        write_rows(self._dataset(rows), rows)
        write_config(self._config(rows), self._dataset(rows), f"{self.url}{CHAT}", PARAMS)

    def ours(self, loop: str, rows: int) -> Measured:
        """Run evalrunner over `rows` rows."""
        run_dir = self.folder / "run"
        command = evalrunner(loop, "run", self._config(rows), "--run-dir", run_dir, "--quiet")
        try:
            return measure(command, self.folder / "ours.log")
        finally:
            shutil.rmtree(run_dir, ignore_errors=True)

    def peer(self, loop: str, rows: int) -> Measured:
        """Run the bare loop over `rows` rows."""
        url = f"{self.url}{CHAT}/chat/completions"
        return measure(script("bare_loop.py", loop, self._dataset(rows), url), self.folder / "peer.log")

    def _dataset(self, rows: int) -> Path:
        return self.folder / f"rows-{rows}.jsonl"

    def _config(self, rows: int) -> Path:
        return self.folder / f"config-{rows}.yaml"


def main() -> None:
    """Measure on plain asyncio, and on uvloop where it is installed."""
    options = read_options(__doc__ or "")
    find_nginx()
    loops = ["asyncio", *(["uvloop"] if find_spec("uvloop") else [])]
    with options.scratch() as scratch, static_server(Path(scratch) / "nginx") as url:
        bench = Bench(Path(scratch), url)
        short = _SHORT_ROWS[options.size]
        for rows in (1, short, 2 * short):
            bench.prepare(rows)
        results = [one for loop in loops for one in _measure_loop(bench, loop, options)]
    report(results, as_json=options.as_json)


def _measure_loop(bench: Bench, loop: str, options: Options) -> list[Result]:
    short, pairs = _SHORT_ROWS[options.size], _PAIRS[options.size]
    our_start, peer_start = bench.ours(loop, 1), bench.peer(loop, 1)
    ours: list[_Cost] = []
    peers: list[_Cost] = []
    for pair in range(pairs):
        say(f"request_cost, {loop}: pair {pair + 1} of {pairs}")
        our_short, peer_short = bench.ours(loop, short), bench.peer(loop, short)
        our_long, peer_long = bench.ours(loop, 2 * short), bench.peer(loop, 2 * short)
        ours.append(_Cost.between(short, our_start, our_short, our_long))
        peers.append(_Cost.between(short, peer_start, peer_short, peer_long))
    our_cpu, peer_cpu = [one.cpu_s for one in ours], [one.cpu_s for one in peers]
    our_rate, peer_rate = (median(one.per_second for one in side) for side in (ours, peers))
    return [
        Result(
            f"processor time for a request, {loop}",
            f"{median(our_cpu) * 1e6:.0f} µs",
            f"{median(peer_cpu) * 1e6:.0f} µs",
            ratio(our_cpu, peer_cpu),
            _TARGETS[loop],
        ),
        Result(
            f"requests per second, {loop}",
            f"{our_rate:,.0f}",
            f"{peer_rate:,.0f}",
            f"{our_rate / peer_rate:.0%} of the peer",
        ),
        Result(
            f"a run of one row, {loop}",
            f"{our_start.wall_s:.2f} s, {our_start.cpu_s:.2f} s of processor",
            f"{peer_start.wall_s:.2f} s, {peer_start.cpu_s:.2f} s of processor",
            f"{our_start.wall_s - peer_start.wall_s:.2f} s more",
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Cost:
    """Seconds of processor that one request more costs, and requests per second once a run is under way."""

    cpu_s: float
    per_second: float

    @classmethod
    def between(cls, rows: int, start: Measured, short: Measured, long: Measured) -> Self:
        """Return the cost out of runs of one row, of `rows` and of twice as many."""
        return cls((long.cpu_s - short.cpu_s) / rows, 2 * rows / (long.wall_s - start.wall_s))


if __name__ == "__main__":
    main()
