"""Owns what exit codes mean for a night: states, events, words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Event = Literal["regression", "failure", "recovery", "success"]

WAITING, RUNNING = "waiting", "running"
GOOD, REGRESSION, FAILURE = "good", "regression", "failure"

# Complete, whatever the gates say: another session would have nothing to send.
_FINISHED: Final = frozenset({0, 3, 4})
SCORE_GATE: Final = 4
INCOMPLETE: Final = 6
_GRAVEST_FIRST: Final[tuple[Event, ...]] = ("failure", "regression", "recovery", "success")
_WORDS: Final = {
    0: "good",
    1: "internal error, or its process was killed",
    2: "config or dataset error",
    3: "too many failed rows",
    4: "a score gate failed",
    5: "stopped: key, quota, model or budget",
    6: "incomplete",
    73: "an output file cannot be created",
    74: "the disk failed or is full",
    75: "another process holds the run",
    130: "interrupted",
    143: "terminated",
}


def is_finished(exit_code: int | None) -> bool:
    """Say whether a run with this exit code is complete; null is a run that has not ended."""
    return exit_code in _FINISHED


def state_of(exit_code: int) -> str:
    """Return what a config's exit code means for the night."""
    if exit_code == 0:
        return GOOD
    return REGRESSION if exit_code == SCORE_GATE else FAILURE


def event_of(state: str, before: str | None) -> Event:
    """Return what there is to tell of a config, given its state when it was last told of (null: never)."""
    if state == REGRESSION:
        return "regression"
    if state != GOOD:
        return "failure"
    return "recovery" if before in (REGRESSION, FAILURE) else "success"


def gravest_event(events: Iterable[Event]) -> Event | None:
    """Return the one event that stands for several; null for none."""
    return min(events, key=_GRAVEST_FIRST.index, default=None)


def words(exit_code: int) -> str:
    """Return what an exit code says, in a few words."""
    return _WORDS.get(exit_code, f"exit {exit_code}")
