"""Owns the books of the limits, second by second from the first request: permitted, charged, refused, answered.

What is permitted is the limit's rate times the time, whatever a burst lets through; it and what is charged are in what
the limit charges: requests, or the tokens of prompts and longest answers. Refused requests count as charged by nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runner.simulate.limits import Admission, Charge, Limits


@dataclass(slots=True)
class Second:
    """What happened in one second. `requests` reached the limits, `refused` by the limit's name; tokens are served."""

    requests: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    charged: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """From `at_s` on a limit is `per_minute`; 0 is none."""

    at_s: float
    per_minute: float


class RateBook:
    """The books. Seconds are counted from the first request; nothing is known of times before it."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._last: int = -1
        self._seconds: defaultdict[int, Second] = defaultdict(Second)
        self._steps: defaultdict[str, list[Step]] = defaultdict(list)

    @property
    def begun(self) -> bool:
        """A first request has come."""
        return self._begun is not None

    def elapsed_s(self, now: float) -> float:
        """Return the seconds since the first request; asked for the first time, this is it."""
        if self._begun is None:
            self._begun = now
        return now - self._begun

    def set_limits(self, limits: Limits, now: float) -> None:
        """Note limits and their changes to come, from `now` or from the first request on."""
        since_s = 0.0 if self._begun is None else now - self._begun
        for steps in self._steps.values():
            steps[:] = [*(step for step in steps if step.at_s < since_s), Step(since_s, 0.0)]
        for name, per_minute in limits.per_minute.items():
            self._steps[name].append(Step(since_s, per_minute))
        for change in sorted(limits.changes, key=lambda change: change.at_s):
            self._steps[change.name].append(Step(since_s + change.at_s, change.per_minute))

    def note(self, charge: Charge, admission: Admission, now: float) -> None:
        """Note a request that reached the limits."""
        self._last = math.floor(self.elapsed_s(now))
        second = self._seconds[self._last]
        second.requests += 1
        if admission.refusal is not None:
            second.refused[admission.refusal.name] += 1
            return
        for standing in admission.standings:
            second.charged[standing.name] += charge.of(standing.name)

    def note_answer(self, completion_tokens: int, now: float) -> None:
        """Note an answer whose last byte went out."""
        second = self._seconds[math.floor(self.elapsed_s(now))]
        second.answered += 1
        second.completion_tokens += completion_tokens

    def span(self, from_s: int, until_s: int | None) -> dict[str, Any]:
        """Return the totals of whole seconds, for JSON; until the last one that was over when a request came."""
        until_s = self._last if until_s is None else until_s
        seconds = [second for number, second in self._seconds.items() if from_s <= number < until_s]
        requests = sum(second.requests for second in seconds)
        refused = sum((second.refused for second in seconds), Counter[str]())
        charged = sum((second.charged for second in seconds), Counter[str]())
        return {
            "from_s": from_s,
            "until_s": until_s,
            "requests": requests,
            "refused": refused.total(),
            "refused_fraction": refused.total() / requests if requests else None,
            "answered": sum(second.answered for second in seconds),
            "completion_tokens": sum(second.completion_tokens for second in seconds),
            "limits": {
                name: _shares(permitted(steps, from_s, until_s), charged[name], refused[name])
                for name, steps in self._steps.items()
            },
        }

    def seconds(self) -> Iterator[dict[str, Any]]:
        """Yield each second up to the last that anything happened in, for JSON."""
        for number in range(max(self._seconds, default=-1) + 1):
            second = self._seconds.get(number, Second())
            yield {
                "second": number,
                "requests": second.requests,
                "refused": second.refused.total(),
                "answered": second.answered,
                "completion_tokens": second.completion_tokens,
                "charged": dict(second.charged),
                "permitted": {name: permitted(steps, number, number + 1) for name, steps in self._steps.items()},
            }


def permitted(steps: Iterable[Step], from_s: float, until_s: float) -> float:
    """Return what a limit permits in a span, given its steps in order."""
    steps = list(steps)
    ends = [*(step.at_s for step in steps[1:]), math.inf]
    return sum(
        step.per_minute * max(0.0, min(end_s, until_s) - max(step.at_s, from_s)) / 60
        for step, end_s in zip(steps, ends, strict=True)
    )


def _shares(permits: float, charged: int, refused: int) -> dict[str, Any]:
    used = charged / permits if permits else None
    return {"permitted": permits, "charged": charged, "used_fraction": used, "refused": refused}
