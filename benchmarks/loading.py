"""Measures `runner.load` into pandas, against pyarrow that reads the same columns of the same files and `to_pandas`.

Ours reads the run as one commit has left it and puts each part's scores beside its rows; the peer trusts that nobody
writes, and that scores stand in the order of the rows. Both are timed in one process by turns, so that the disk's cache
and the imports are the same. Peaks of memory are those of processes that load once.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from support.options import Size, read_options
from support.processes import evalrunner, measure, script
from support.results import Result, ratio, report, say

_ROWS = {Size.SMALL: 100_000, Size.DEFAULT: 1_000_000, Size.FULL: 1_000_000}
_PAIRS = {Size.SMALL: 3, Size.DEFAULT: 7, Size.FULL: 15}
_LENGTH = 300
_SOME = ("key", "sample_id", "choice", "status", "text", "target")
_TARGET = "≤ 1.5 of the peer's time"


def main() -> None:
    """Make a run; load it without scores, then with them."""
    options = read_options(__doc__ or "")
    rows, pairs = _ROWS[options.size], _PAIRS[options.size]
    results: list[Result] = []
    with options.scratch() as scratch:
        run_dir, log = Path(scratch) / "run", Path(scratch) / "log"
        say(f"loading: {rows:,} rows")
        measure(script("made_run.py", run_dir, str(rows), str(_LENGTH)), log)
        results += _results(f"{rows:,} rows, all columns", run_dir, pairs, log)
        results += _results(f"{rows:,} rows, six columns", run_dir, pairs, log, *_SOME)
        measure(evalrunner("asyncio", "score", run_dir), log)
        results += _results(f"{rows:,} rows, all columns and a score", run_dir, pairs, log)
    report(results, as_json=options.as_json)


def _results(what: str, run_dir: Path, pairs: int, log: Path, *columns: str) -> list[Result]:
    measure(script("bare_load.py", "both", run_dir, str(pairs), *columns), log)
    taken = [tuple(map(float, line.split())) for line in log.read_text(encoding="utf-8").splitlines()]
    ours, peers = zip(*taken, strict=True)
    peaks = [
        measure(script("bare_load.py", who, run_dir, "1", *columns), log).peak_bytes / 2**20 for who in ("ours", "peer")
    ]
    shown = [f"{median(times):.2f} s" for times in (ours, peers)]
    return [
        Result(f"loading, {what}", *shown, ratio(ours, peers), _TARGET),
        Result(f"peak memory, {what}", *(f"{peak:.0f} MB" for peak in peaks), ratio(peaks[:1], peaks[1:])),
    ]


if __name__ == "__main__":
    main()
