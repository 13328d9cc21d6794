"""Owns which requests are under way and since when: the slowest of them are the first."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.pipeline.sending.backlog import Pending


@dataclass(frozen=True, slots=True)
class Straggler:
    """A request under way: its first sample, how many it holds, its attempt's number and age, and who is asked."""

    sample_id: str
    samples: int
    attempt: int
    age_s: float
    server: str


@dataclass(slots=True)
class UnderWay:
    """Requests in the order in which they were sent. A dict keeps that order, so that nothing is ever sorted."""

    _sent: dict[bytes, tuple[float, Pending, str]] = field(default_factory=dict)

    def begin(self, pending: Pending, now: float, server: str) -> None:
        """Note that a request goes out."""
        self._sent[pending.request.key] = (now, pending, server)

    def end(self, pending: Pending) -> None:
        """Note that an attempt has ended."""
        self._sent.pop(pending.request.key, None)

    def oldest_s(self, now: float) -> float | None:
        """Return the age of the oldest; null where nothing is under way."""
        first = next(iter(self._sent.values()), None)
        return None if first is None else now - first[0]

    def slowest(self, now: float, most: int) -> list[Straggler]:
        """Return the oldest, at most so many, the oldest first."""
        return [
            Straggler(
                pending.request.cases[0].sample_id, len(pending.request.cases), pending.attempts, now - sent_at, server
            )
            for sent_at, pending, server in islice(self._sent.values(), most)
        ]
