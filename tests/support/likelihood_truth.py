"""Owns what the simulator's language model has to say, worked out from its corpus and vocabulary alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from runner.simulate.ngram import CORPUS, PIECES

_PATTERN = re.compile(
    "|".join(re.escape(piece.encode().decode("latin-1")) for piece in sorted(PIECES, key=lambda p: -len(p.encode())))
    + "|.",
    re.DOTALL,
)
_SIZE = 1 + 256 + len(PIECES)


@dataclass(frozen=True)
class Truth:
    """The likelihood of a continuation; `tokens` are its tokens' bytes and `values` their log probabilities."""

    loglikelihood: float
    is_greedy: bool
    inexact: bool
    tokens: list[bytes]
    values: list[float]


def tokens_of(text: str) -> list[bytes]:
    """Return the tokens of a text as bytes: the longest piece at each place, else one byte."""
    return [found.encode("latin-1") for found in _PATTERN.findall(text.encode().decode("latin-1"))]


def truth(context: str, continuation: str, *, begin: bool = False) -> Truth | None:
    """Return the truth; null where the first token of the continuation has nothing before it."""
    tokens = [b"<s>"] * begin + tokens_of(context + continuation)
    boundary = len(context.encode()) + 3 * begin
    ends = [sum(map(len, tokens[: number + 1])) for number in range(len(tokens))]
    first = next(number for number, end in enumerate(ends) if end > boundary)
    if first == 0:
        return None
    values, greedy = [], []
    for before, token in zip(tokens[first - 1 :], tokens[first:], strict=False):
        follows = _FOLLOWS.get(before, Counter())
        values.append(math.log((follows[token] + 0.1) / (sum(follows.values()) + 0.1 * _SIZE)))
        greedy.append(follows[token] == max(follows.values(), default=0))
    inexact = ends[first] - len(tokens[first]) < boundary
    return Truth(math.fsum(values), all(greedy), inexact, tokens[first:], values)


def _follows() -> dict[bytes, Counter[bytes]]:
    found: dict[bytes, Counter[bytes]] = {}
    before = b"<s>"
    for token in tokens_of(CORPUS):
        found.setdefault(before, Counter())[token] += 1
        before = token
    return found


_FOLLOWS = _follows()
