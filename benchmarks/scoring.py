"""Measures `evalrunner score` over answered rows, against a bare loop that reads the two columns and compares them.

Ours reads the parts with their checksums, writes a scoring that survives a crash, and sums up with intervals; the loop
does none of these. Rates are of processor time, without the start of both processes, which is measured on a run of one
row. The target is for answers of 300 characters; those of a few are shown, too: of them the loop has hardly anything to
read, and most of what is left to do is to write keys beside the scores.
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

_ROWS = {Size.SMALL: 100_000, Size.DEFAULT: 1_000_000, Size.FULL: 1_000_000}
_PAIRS = {Size.SMALL: 1, Size.DEFAULT: 5, Size.FULL: 5}
# Characters that stand before the number in each answer, and the target.
_LENGTHS = {"answers of a few characters": (0, ""), "answers of 300 characters": (300, "≥ 0.5 of the loop's rate")}
_PEAK_TARGET = "< 500 MB"


def main() -> None:
    """Make runs, then score each and loop over it in turns."""
    options = read_options(__doc__ or "")
    rows, pairs = _ROWS[options.size], _PAIRS[options.size]
    results: list[Result] = []
    with options.scratch() as scratch:
        folder = Path(scratch)
        start = _measure(_made(folder, 1, 0), pairs)
        for name, (length, target) in _LENGTHS.items():
            what = f"{rows:,} {name}"
            say(f"scoring: {what}")
            measured = _measure(_made(folder, rows, length), pairs)
            ours, peers = (rates(rows, *group) for group in zip(start, measured, strict=True))
            results.append(
                Result(f"rows/s, {what}", f"{median(ours):,.0f}", f"{median(peers):,.0f}", ratio(ours, peers), target)
            )
            results += _whole(what, measured)
    report(results, as_json=options.as_json)


def _made(folder: Path, rows: int, length: int) -> Path:
    run_dir = folder / f"run-{rows}-{length}"
    measure(script("made_run.py", run_dir, str(rows), str(length)), folder / "log")
    return run_dir


def _measure(run_dir: Path, pairs: int) -> tuple[list[Measured], list[Measured]]:
    """Return what ours and the loop took, in turns."""
    ours, peers, log = [], [], run_dir.parent / "log"
    for _ in range(pairs):
        ours.append(measure(evalrunner("asyncio", "score", run_dir), log))
        peers.append(measure(script("bare_score.py", run_dir / "responses"), log))
    return ours, peers


def _whole(what: str, measured: tuple[list[Measured], list[Measured]]) -> list[Result]:
    peaks = [f"{max(one.peak_bytes for one in group) / 2**20:.0f} MB" for group in measured]
    return [
        Result(f"peak memory, {what}", *peaks, f"peak = {peaks[0]}", _PEAK_TARGET),
        Result(f"whole command, {what}", *(f"{median(one.wall_s for one in group):.2f} s" for group in measured), ""),
    ]


if __name__ == "__main__":
    main()
