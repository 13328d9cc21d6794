"""Measures `evalrunner compare` of two runs, against a bare loop that joins one score of both by sample id in a dict.

Ours reads the parts with their checksums as one commit has left them, pairs by content, too, and compares latency,
tokens and how rows ended besides, with intervals; the loop does none of these. Rates are of processor time, without the
start of both processes, which is measured on runs of one row.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from support.options import Size, read_options
from support.processes import evalrunner, measure, script
from support.results import Result, rates, ratio, report, say

if TYPE_CHECKING:
    from support.processes import Measured

    Runs = tuple[Path, Path]

_ROWS = {Size.SMALL: 100_000, Size.DEFAULT: 1_000_000, Size.FULL: 1_000_000}
_PAIRS = {Size.SMALL: 1, Size.DEFAULT: 5, Size.FULL: 5}
# Of so many answers of each run one is another one.
_OTHER = (7, 11)
_RATE_TARGET = "≥ 0.5 of the loop's rate"
_PEAK_TARGET = "< 500 MB"


def main() -> None:
    """Make two runs and score them, then compare them and loop over them in turns."""
    options = read_options(__doc__ or "")
    rows, pairs = _ROWS[options.size], _PAIRS[options.size]
    with options.scratch() as scratch:
        folder = Path(scratch)
        start = _measure(_made(folder, 1), pairs)
        say(f"comparing: {rows:,} rows with {rows:,}")
        results = _results(rows, start, _measure(_made(folder, rows), pairs))
    report(results, as_json=options.as_json)


def _made(folder: Path, rows: int) -> Runs:
    log = folder / "log"
    base, run = (folder / f"run-{rows}-{other}" for other in _OTHER)
    for run_dir, other in zip((base, run), _OTHER, strict=True):
        measure(script("made_run.py", run_dir, str(rows), "0", str(other)), log)
        measure(evalrunner("asyncio", "score", run_dir), log)
    return base, run


def _measure(runs: Runs, pairs: int) -> tuple[list[Measured], list[Measured]]:
    """Return what ours and the loop took, in turns."""
    ours, peers, log = [], [], runs[0].parent / "log"
    for _ in range(pairs):
        ours.append(measure(evalrunner("asyncio", "compare", *runs), log))
        peers.append(measure(script("bare_compare.py", *runs), log))
    return ours, peers


def _results(
    rows: int, start: tuple[list[Measured], list[Measured]], measured: tuple[list[Measured], list[Measured]]
) -> list[Result]:
    ours, peers = (rates(rows, *group) for group in zip(start, measured, strict=True))
    peaks = [max(one.peak_bytes for one in group) / 2**20 for group in measured]
    whole = [f"{median(one.wall_s for one in group):.2f} s" for group in measured]
    what = f"{rows:,} pairs"
    return [
        Result(f"pairs/s, {what}", f"{median(ours):,.0f}", f"{median(peers):,.0f}", ratio(ours, peers), _RATE_TARGET),
        Result(
            f"peak memory, {what}", *(f"{peak:.0f} MB" for peak in peaks), f"peak = {peaks[0]:.0f} MB", _PEAK_TARGET
        ),
        Result(f"whole command, {what}", *whole, ""),
    ]


if __name__ == "__main__":
    main()
