"""Measures the report of a large run with top log probabilities: its time, its memory, and the page in a browser.

Static nginx answers the rows, as those of `memory.py`. The peer is the report of a run with a tenth of the rows:
a report may take time for each row, and neither memory nor a larger page.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
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
    Size.SMALL: (1_000, 10_000),
    Size.DEFAULT: (10_000, 100_000),
    Size.FULL: (100_000, 1_000_000),
}
_MISSING = 2


@dataclass(frozen=True, slots=True)
class _Page:
    measured: Measured
    bytes: int
    ready_s: float


def main() -> None:
    """Report a short run and one with ten times its rows."""
    options = read_options(__doc__ or "")
    find_nginx()
    chromium = _find_chromium()
    few, many = _ROWS[options.size]
    with options.scratch() as scratch, static_server(Path(scratch) / "nginx") as url:
        short, long = (_report(Path(scratch), url, rows, chromium) for rows in (few, many))
    ours, peer = (f"{one.measured.peak_bytes / _MB:.0f} MB" for one in (long, short))
    growth = (long.measured.peak_bytes - short.measured.peak_bytes) / _MB
    took, peer_took = (f"{one.measured.wall_s:.1f} s" for one in (long, short))
    sizes = [f"{one.bytes / 1e6:.1f} MB" for one in (long, short)]
    ready = [f"{one.ready_s:.2f} s" for one in (long, short)]
    rows = f"{many:,} rows against {few:,}"
    results = [
        Result(f"peak memory of report, {rows}", ours, peer, f"peak = {ours}, growth = {growth:.0f} MB", "< 500 MB"),
        Result(f"time of report, {rows}", took, peer_took, f"{long.measured.wall_s / many * 1e6:.1f} µs a row"),
        Result(f"size of the page, {rows}", *sizes, f"size = {sizes[0]}", "≤ 15 MB"),
        Result(f"until the page is ready in chromium, {rows}", *ready, f"ready = {ready[0]}", "< 2 s"),
    ]
    report(results, as_json=options.as_json)


def _find_chromium() -> str:
    """Return the browser's program; without it exit, with a hint."""
    program = shutil.which("chromium")
    if program is None:
        sys.stderr.write("chromium is needed and was not found: apt-get install chromium\n")
        sys.exit(_MISSING)
    return program


def _report(folder: Path, url: str, rows: int, chromium: str) -> _Page:
    say(f"report: a run of {rows:,} rows")
    dataset, config, run_dir = folder / "rows.jsonl", folder / "config.yaml", folder / "run"
    write_rows(dataset, rows)
    write_config(config, dataset, f"{url}{CHAT_LOGPROBS}", LOGPROB_PARAMS)
    scored = ("--set", "scorers=[{name: includes}, {name: perplexity}]")
    measure(evalrunner("uvloop", "run", config, "--run-dir", run_dir, "--quiet", *scored), folder / "run.log")
    page = folder / "page.html"
    measured = measure(evalrunner("asyncio", "report", run_dir, "-o", page), folder / "report.log")
    shutil.rmtree(run_dir)
    return _Page(measured, page.stat().st_size, _until_ready_s(page, chromium))


def _until_ready_s(page: Path, chromium: str) -> float:
    """Return the seconds that chromium takes to load a page and run its script to the end."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it starts a process of its own, after measuring

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        view = browser.new_page()
        begun = time.perf_counter()
        view.goto(page.as_uri())
        view.wait_for_selector("html[data-ready=yes]", state="attached")
        took = time.perf_counter() - begun
        browser.close()
    return took


if __name__ == "__main__":
    main()
