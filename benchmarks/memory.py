"""Measures the peak memory of a run with five top log probabilities a token, against the same run with fewer rows.

Memory may not grow with the rows but for their identity, so the peer of a long run is a short one.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from support.options import Size, read_options
from support.processes import evalrunner, measure
from support.results import Result, report, say
from support.static_server import CHAT_LOGPROBS, find_nginx, static_server
from support.workload import LOGPROB_PARAMS, write_config, write_rows

if TYPE_CHECKING:
    from support.processes import Measured

_MB = 1024 * 1024
_ROWS = {
    Size.SMALL: (2_000, 20_000),
    Size.DEFAULT: (20_000, 200_000),
    Size.FULL: (100_000, 1_000_000),
}
_GROWTH_TARGET = "≤ 40 MB (stated for 100,000 to 1,000,000 rows)"
_PEAK_TARGET = "< 400 MB"


def main() -> None:
    """Measure a short run and one with ten times its rows (of `--small` and the default: likewise)."""
    options = read_options(__doc__ or "")
    find_nginx()
    few, many = _ROWS[options.size]
    with options.scratch() as scratch, static_server(Path(scratch) / "nginx") as url:
        short, long = (_run(Path(scratch), url, rows) for rows in (few, many))
    growth = (long.peak_bytes - short.peak_bytes) / _MB
    ours, peer = (f"{one.peak_bytes / _MB:.0f} MB" for one in (long, short))
    results = [
        Result(
            f"peak memory, {many:,} rows against {few:,}",
            ours,
            peer,
            f"ratio = {long.peak_bytes / short.peak_bytes:.2f}, growth = {growth:.1f} MB",
            _GROWTH_TARGET,
        ),
        Result(f"peak memory, {many:,} rows", ours, "", f"peak = {ours}", _PEAK_TARGET),
    ]
    report(results, as_json=options.as_json)


def _run(folder: Path, url: str, rows: int) -> Measured:
    say(f"memory: {rows:,} rows")
    dataset, config, run_dir = folder / "rows.jsonl", folder / "config.yaml", folder / "run"
    write_rows(dataset, rows)
    write_config(config, dataset, f"{url}{CHAT_LOGPROBS}", LOGPROB_PARAMS)
    command = evalrunner("uvloop", "run", config, "--run-dir", run_dir, "--quiet")
    measured = measure(command, folder / "run.log")
    shutil.rmtree(run_dir)
    say(f"memory: {rows:,} rows took {measured.wall_s:.0f} s")
    return measured


if __name__ == "__main__":
    main()
