"""Measures what packing is worth: embeddings for each second of processor, a full pack a request against one input.

A second line compares the packed run with `support/bare_packs.py`, a loop that sends the same packs and keeps nothing:
what is left between the two is the price of what a run keeps. Cost is marginal, as in `request_cost.py`: a long run
less a short one, whole processes with their children. The packed runs' rows are a multiple of a pack, since the static
answer always has as many vectors. All sides alternate, and each ratio is the median over the rounds.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from support.bodies import DIMENSIONS, PACKED_INPUTS
from support.options import Size, read_options
from support.processes import evalrunner, measure, script
from support.results import Result, ratio, report, say
from support.static_server import PACKED_EMBEDDINGS, SINGLE_EMBEDDING, find_nginx, static_server
from support.workload import write_embedding_config, write_rows

if TYPE_CHECKING:
    from support.options import Options
    from support.processes import Measured

_TARGET = "≥ 20"
_PAIRS = {Size.SMALL: 1, Size.DEFAULT: 5, Size.FULL: 5}
# Runs long enough that what a run costs by itself is small beside what is measured.
_PACKS = {Size.SMALL: 10, Size.DEFAULT: 50, Size.FULL: 100}
_SINGLES = {Size.SMALL: 2_000, Size.DEFAULT: 10_000, Size.FULL: 20_000}


@dataclass(frozen=True, slots=True)
class Side:
    """One way to send: how many inputs in a request, to which address, and how many rows the shorter run has."""

    name: str
    batch_size: int | str
    base_url: str
    rows: int


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything is: a dataset and a config for each side and number of rows."""

    folder: Path

    def prepare(self, side: Side) -> None:
        """Write datasets and configs of a side's runs."""
        for rows in (side.rows, 2 * side.rows):
            dataset = self.folder / f"{side.name}-{rows}.jsonl"
            write_rows(dataset, rows)
            write_embedding_config(dataset.with_suffix(".yaml"), dataset, side.base_url, side.batch_size)

    def vectors_per_second(self, side: Side) -> float:
        """Return how many vectors more a run makes for each second of processor more."""
        short, long = (self._run(side, rows) for rows in (side.rows, 2 * side.rows))
        return side.rows / (long.cpu_s - short.cpu_s)

    def bare_vectors_per_second(self, side: Side) -> float:
        """Return the same of the loop that keeps nothing, over a packed side's rows."""
        url = f"{side.base_url}/embeddings"
        short, long = (
            measure(
                script("bare_packs.py", self.folder / f"{side.name}-{rows}.jsonl", url, str(PACKED_INPUTS)),
                self.folder / "peer.log",
            )
            for rows in (side.rows, 2 * side.rows)
        )
        return side.rows / (long.cpu_s - short.cpu_s)

    def _run(self, side: Side, rows: int) -> Measured:
        run_dir = self.folder / "run"
        config = self.folder / f"{side.name}-{rows}.yaml"
        try:
            return measure(
                evalrunner("asyncio", "run", config, "--run-dir", run_dir, "--quiet"), self.folder / "ours.log"
            )
        finally:
            shutil.rmtree(run_dir, ignore_errors=True)


def main() -> None:
    """Measure all ways, in turns."""
    options = read_options(__doc__ or "")
    find_nginx()
    with options.scratch() as scratch, static_server(Path(scratch) / "nginx") as url:
        results = _measure(Bench(Path(scratch)), url, options)
    report(results, as_json=options.as_json)


def _measure(bench: Bench, url: str, options: Options) -> list[Result]:
    size = options.size
    packed = Side("packed", "auto", f"{url}{PACKED_EMBEDDINGS}", _PACKS[size] * PACKED_INPUTS)
    single = Side("single", 1, f"{url}{SINGLE_EMBEDDING}", _SINGLES[size])
    for side in (packed, single):
        bench.prepare(side)
    ours: list[float] = []
    singles: list[float] = []
    bare: list[float] = []
    for pair in range(_PAIRS[size]):
        say(f"embedding_packing: round {pair + 1} of {_PAIRS[size]}")
        ours.append(bench.vectors_per_second(packed))
        singles.append(bench.vectors_per_second(single))
        bare.append(bench.bare_vectors_per_second(packed))
    what = f"vectors of {DIMENSIONS} for a second of processor, {PACKED_INPUTS:,} inputs a request"
    mine = f"{median(ours):,.0f}"
    return [
        Result(f"{what}, by one input", mine, f"{median(singles):,.0f}", ratio(ours, singles), _TARGET),
        Result(f"{what}, by a bare loop", mine, f"{median(bare):,.0f}", ratio(ours, bare)),
    ]


if __name__ == "__main__":
    main()
