"""Owns what held a run back, by the pace lines of its event log: a few lines a minute that say what it waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_EVENT: Final = b'"event":"pace"'
_MOST_LINE_BYTES: Final = 64 * 1024
# The share of one processor from which on the process itself is what limits: its event loop has one.
_BUSY: Final = 0.9
_FULL: Final = 0.95
_MOST_LINES: Final = 20_000

REASONS: Final = {
    "processor": "this machine: the run's own process was busy",
    "in_flight": "requests in flight: as many as were allowed were under way",
    "rate": "rates: rows were ready and waited for the server's requests or tokens per minute",
    "asked": "the server: it asked to wait (Retry-After)",
    "out": "the server: it did not answer",
    "retry": "retries: what was left waited for its next attempt",
    "paused": "a pause that somebody asked for",
    "rows": "rows: too few were ready to send (the dataset was being read, or the end was near)",
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """What happened between two pace lines: `at_s` is when it ended, in seconds of its session."""

    session: int
    at_s: float
    length_s: float
    in_flight: int
    max_in_flight: int
    reason: str


@dataclass(frozen=True, slots=True)
class Pace:
    """All stretches of a run, and how many seconds went to what held it back, the most first. Empty without lines."""

    stretches: tuple[Stretch, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Seconds that the lines cover."""
        return sum(self.seconds.values())


def read_pace(path: Path) -> Pace:
    """Read the pace lines of an event log, whatever else stands in it; none where there is no log."""
    stretches: list[Stretch] = []
    cpu_s, session, before = 0.0, 0, None
    for line in _lines(path):
        if before is not None and line["elapsed_s"] >= before["elapsed_s"] and line["cpu_s"] >= before["cpu_s"]:
            stretches.append(_stretch(session, before, line))
            cpu_s += line["cpu_s"] - before["cpu_s"]
        elif before is not None:
            session += 1
        before = line
    seconds: dict[str, float] = {}
    for one in stretches:
        seconds[one.reason] = seconds.get(one.reason, 0.0) + one.length_s
    by_length = dict(sorted(seconds.items(), key=lambda pair: -pair[1]))
    return Pace(tuple(stretches), by_length, cpu_s)


def held_back(line: Mapping[str, Any], *, cpu_share: float, frozen: bool) -> str:
    """Return what a line says the run waits for, one of REASONS."""
    signs = {
        "paused": line["paused"],
        "processor": cpu_share >= _BUSY,
        "asked": frozen,
        "in_flight": line["in_flight"] >= _FULL * line["max_in_flight"],
        "out": line["out"],
        "rate": line["held"],
        "retry": line["waiting"],
    }
    return next((reason for reason, seen in signs.items() if seen), "rows")


def _stretch(session: int, before: Mapping[str, Any], line: Mapping[str, Any]) -> Stretch:
    length_s = line["elapsed_s"] - before["elapsed_s"]
    share = (line["cpu_s"] - before["cpu_s"]) / length_s if length_s > 0 else 0.0
    frozen = max(line["frozen_for_s"], before["frozen_for_s"]) > 0
    # What a line shows is a moment; of two the one counts in which more was under way, since an end is always empty.
    fuller = max(before, line, key=lambda one: (one["in_flight"], one["held"]))
    reason = held_back(fuller, cpu_share=share, frozen=frozen)
    return Stretch(session, line["elapsed_s"], length_s, line["in_flight"], line["max_in_flight"], reason)


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.exists():
        return
    count = 0
    with path.open("rb") as file:
        while line := file.readline(_MOST_LINE_BYTES):
            if _EVENT in line and count < _MOST_LINES and (known := _known(line)) is not None:
                count += 1
                yield known


def _known(line: bytes) -> Mapping[str, Any] | None:
    """Return a pace line that has all its numbers; null for one that was torn, or is no such line."""
    try:
        read = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(read, dict) or read.get("event") != "pace":
        return None
    names = ("elapsed_s", "cpu_s", "in_flight", "max_in_flight", "held", "waiting", "frozen_for_s", "out", "paused")
    numbers = all(isinstance(read.get(name), (int, float)) for name in names)
    return read if numbers else None
