"""Owns what is left of a quota: so many answers, then none, and perhaps as many again after a while."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Quota:
    """Answers granted so far, how many of them belong to quotas that are used up, and since when nothing is left."""

    granted: int = 0
    settled: int = 0
    empty_since: float | None = None

    def is_empty(self, after: int | None, back_s: float | None, now: float) -> bool:
        """Say whether none of `after` answers is left; `back_s` after this was found there are as many again."""
        if after is None or self.granted - self.settled < after:
            self.empty_since = None
            return False
        if self.empty_since is None:
            self.empty_since = now
        if back_s is None or now - self.empty_since < back_s:
            return True
        self.settled, self.empty_since = self.granted, None
        return False
