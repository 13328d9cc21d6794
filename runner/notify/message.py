"""Owns what a notification says: a night's verdict and what led to it, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Event = Literal["regression", "failure", "recovery", "success"]
"""regression: scores or gates are worse · failure: runs did not complete · recovery: good after either · success."""

EVENTS: tuple[Event, ...] = get_args(Event)


@dataclass(frozen=True, slots=True)
class Score:
    """A score's mean with its 95 % interval, and the paired difference from the run it is compared with.

    Everything is in the score's own unit; null where it is not known.
    """

    name: str
    mean: float | None
    interval: tuple[float, float] | None = None
    baseline: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate, e.g. `exact_match.max_drop`: whether it passed (null: not decided) and the numbers that say why."""

    name: str
    passed: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Flip:
    """A sample whose score changed: `text` is what the model answers now. Id and text are other people's words."""

    sample_id: str
    score: str
    before: float | None
    after: float | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class ConfigResult:
    """What became of one config of the suite.

    `status` and `exit_code` are the run's, `verdict` is one line, `message` what went wrong if something did. `flips`
    come worst first, `flips_in_all` counts those that are left out, too. `paths` are files and folders to look at, by
    what they are: `run`, `report`, …
    """

    name: str
    status: str
    exit_code: int
    verdict: str
    message: str = ""
    scores: tuple[Score, ...] = ()
    gates: tuple[Gate, ...] = ()
    flips: tuple[Flip, ...] = ()
    flips_in_all: int | None = None
    paths: tuple[tuple[str, str], ...] = ()

    @property
    def flip_count(self) -> int:
        """How many samples changed, those in `flips` or more."""
        return len(self.flips) if self.flips_in_all is None else max(self.flips_in_all, len(self.flips))


@dataclass(frozen=True, slots=True)
class Message:
    """One notification. `night` is its date (YYYY-MM-DD); `verdict` is one sentence; times are ISO 8601 with zone."""

    event: Event
    suite: str
    night: str
    verdict: str
    configs: tuple[ConfigResult, ...] = ()
    started_at: str | None = None
    ended_at: str | None = None
    paths: tuple[tuple[str, str], ...] = ()
