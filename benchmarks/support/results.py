"""Owns results: what was measured against which peer, shown as a table and one line for each target."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.processes import Measured

HEADERS = ("what", "evalrunner", "peer", "measured", "target")


@dataclass(frozen=True, slots=True)
class Result:
    """One line: `ours` and `peer` are absolute figures for information, `measured` is what the target is about.

    A target is a statement to compare with, never an assertion; empty where there is none.
    """

    what: str
    ours: str
    peer: str
    measured: str
    target: str = ""


def ratio(ours: Sequence[float], peers: Sequence[float]) -> str:
    """Return the median over pairs of ours by the peer's, as `ratio = 1.23`."""
    ratios = [one / other for one, other in zip(ours, peers, strict=True)]
    spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
    return f"ratio = {median(ratios):.2f}{spread}"


def rates(rows: int, start: Sequence[Measured], whole: Sequence[Measured]) -> list[float]:
    """Return rows for each second of processor beyond what a command takes to start, of each whole run."""
    begun = median(one.cpu_s for one in start)
    return [rows / (one.cpu_s - begun) for one in whole]


def say(text: str) -> None:
    """Tell on stderr what is going on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def report(results: Sequence[Result], *, as_json: bool) -> None:
    """Print the results: a table and a line for each target, or one JSON list."""
    if as_json:
        print(json.dumps([asdict(result) for result in results]))
        return
    rows = [HEADERS, *((one.what, one.ours, one.peer, one.measured, one.target) for one in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADERS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    for one in results:
        if one.target:
            print(f"{one.what}: {one.measured}, target {one.target}")
