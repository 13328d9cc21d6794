"""Owns whether tokens that an answer was allowed and did not use are given back. Pure: it only counts.

Some servers give them back, some count what was asked for. The first 429 under a token limit is taken for a sign that
the server is of the second kind: nothing is given back for a while, then it is tried again, ever more seldom. Where
429s go on without refunds, these are not the reason.
"""

from __future__ import annotations

# Requests without refunds before they are tried again; each time twice as many.
_FIRST_WHILE = 1_000
# Refusals of this share, and no fewer than these, after so many requests without refunds: they have another reason.
_ANOTHER_REASON = 0.008
_FEWEST = 4
_ENOUGH = 300


class Refunds:
    """`given` says whether refunds are given as of now."""

    __slots__ = ("_innocent", "_refused", "_sent", "_while", "given")

    def __init__(self) -> None:
        self.given = True
        self._innocent = False
        self._while = _FIRST_WHILE
        self._sent = self._refused = 0

    def sent(self) -> None:
        """Count a request that went out."""
        if self.given:
            return
        self._sent += 1
        if self._sent >= self._while:
            self.given, self._while = True, 2 * self._while

    def refused(self) -> bool:
        """Note a 429; say whether it is taken for the work of refunds, which end with it."""
        if self.given:
            if self._innocent:
                return False
            self.given, self._sent, self._refused = False, 0, 0
            return True
        self._refused += 1
        if self._sent >= _ENOUGH and self._refused >= max(_FEWEST, _ANOTHER_REASON * self._sent):
            self.given = self._innocent = True
        return False
