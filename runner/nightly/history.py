"""Owns what a page shows of many nights: a mark for each night of a config, a score's course as a line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from runner.nightly.outcome import FAILURE, GOOD, REGRESSION
from runner.nightly.wording import figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.nightly.record import ConfigRecord, NightRecord

MISSED: Final = "missed"
_MARKS: Final = {GOOD: "✓", REGRESSION: "↓", FAILURE: "✕"}
_WIDTH, _HEIGHT, _EDGE = 240.0, 44.0, 5.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One night of a config: `state` is good, regression, failure or missed, `sign` says it without colour."""

    state: str
    sign: str
    title: str


@dataclass(frozen=True, slots=True)
class Point:
    """One night's mean in a chart of 240 by 44, and the config's state."""

    x: float
    y: float
    state: str
    title: str


@dataclass(frozen=True, slots=True)
class Course:
    """A score's means over nights, oldest first: points, the line through them, the least and the greatest mean."""

    points: list[Point]
    line: str
    low: str
    high: str


def dates_of(nights: Sequence[NightRecord], most: int) -> list[str]:
    """Return the newest dates that had a night, or should have, oldest first."""
    return sorted({one.date for one in nights} | {date for one in nights for date in one.missed})[-most:]


def marks_of(name: str, nights: Sequence[NightRecord], dates: Sequence[str]) -> Iterator[Mark]:
    """Yield a mark for each date: what became of a config in that night."""
    by_date = dict(_of_config(name, nights))
    for date in dates:
        one = by_date.get(date)
        if one is None or one.state not in _MARKS:
            yield Mark(MISSED, "·", f"{date}: no run")
        else:
            yield Mark(one.state, _MARKS[one.state], f"{date}: {one.verdict} (exit {one.exit_code})")


def course_of(name: str, score: str, nights: Sequence[NightRecord], dates: Sequence[str]) -> Course | None:
    """Return the course of a config's score over finished nights; null where it has fewer than two means."""
    by_date = dict(_of_config(name, nights))
    found = [
        (number, mean, by_date[date])
        for number, date in enumerate(dates)
        if date in by_date and by_date[date].finished and (mean := _mean(by_date[date], score)) is not None
    ]
    if len(found) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    low, high = min(mean for _, mean, _ in found), max(mean for _, mean, _ in found)
    step, span = (_WIDTH - 2 * _EDGE) / (len(dates) - 1), high - low
    points = [
        Point(
            round(_EDGE + step * number, 1),
            round(_EDGE + (_HEIGHT - 2 * _EDGE) * ((high - mean) / span if span else 0.5), 1),
            one.state,
            f"{dates[number]}: {figure(mean)}",
        )
        for number, mean, one in found
    ]
    return Course(points, " ".join(f"{one.x},{one.y}" for one in points), figure(low), figure(high))


def _of_config(name: str, nights: Sequence[NightRecord]) -> Iterator[tuple[str, ConfigRecord]]:
    return ((night.date, one) for night in nights for one in night.configs if one.name == name)


def _mean(one: ConfigRecord, score: str) -> float | None:
    found: Any = one.scores.get(score, {}).get("mean")
    return found if isinstance(found, int | float) else None
