"""Owns a tiny language model: a fixed tokenizer and bigram counts over a few lines of text.

The tokenizer takes the longest vocabulary entry at each place; entries reach over spaces and words (`e q`, `n is `), so
that a token may begin in a context and end in a continuation. Whatever the vocabulary lacks goes byte by byte.
p(token | previous) = (count + 1/10) / (sum of counts + size/10): every token has a probability after every other.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import pairwise

CORPUS = (
    "the capital of france is paris. the capital of italy is rome. the capital of spain is madrid. "
    "question: is water wet? answer: yes. question: is fire cold? answer: no. question: is the sky blue? answer: yes. "
    "the answer is A. the answer is B. the answer is C. the answer is A. one and one is two. two and two is four. "
    "caf\u00e9 na\u00efve \u6771\u4eac \U0001f642 the quick brown fox jumps over the lazy dog and the answer is yes."
)
PIECES = (
    *("the", " the", " answer", "answer", ": ", ". ", "? ", " is", "is", " of", " capital", "capital", " question"),
    *("question", "yes", " yes", "no", " no", " A", " B", " C", " and", "and", "one", "two", " two", "four", "e q"),
    *("n is ", "er: y", "r is A", "s wet", "?\n", "\n\n", "an", "in", "er", "on", "re", "at", "en", "or", "es", "st"),
    *("caf", "\u00e9", "\u6771", " \u4eac", "\u6771\u4eac", " jumps over", " lazy dog"),
)
BEGIN = "<s>"
_ADDED = 0.1

TOKENS: tuple[bytes, ...] = (BEGIN.encode(), *(bytes([byte]) for byte in range(256)), *(p.encode() for p in PIECES))
"""The vocabulary by token id: the mark for the beginning, all bytes, the pieces."""

_IDS = {token: number for number, token in enumerate(TOKENS) if number}
_LONGEST = max(map(len, TOKENS))


def tokenize(text: str) -> list[int]:
    """Return the token ids of a text."""
    data, place, ids = text.encode("utf-8", "replace"), 0, []
    while place < len(data):
        left = min(_LONGEST, len(data) - place)
        size = next(size for size in range(left, 0, -1) if data[place : place + size] in _IDS)
        ids.append(_IDS[data[place : place + size]])
        place += size
    return ids


def logprob(previous: int, token: int) -> float:
    """Return the log probability of a token after another."""
    counts, total = _counts()[previous]
    return math.log((counts[token] + _ADDED) / (total + _ADDED * len(TOKENS)))


def likeliest(previous: int, most: int) -> list[int]:
    """Return the likeliest tokens after another, the smaller id first where they are equal."""
    counts, _ = _counts()[previous]
    unseen = (token for token in range(len(TOKENS)) if token not in counts)
    ranked = sorted(counts, key=lambda token: (-counts[token], token))[:most]
    return ranked + [token for token, _ in zip(unseen, range(most - len(ranked)), strict=False)]


@lru_cache(maxsize=1)
def _counts() -> dict[int, tuple[Counter[int], int]]:
    follows: defaultdict[int, Counter[int]] = defaultdict(Counter)
    ids = [0, *tokenize(CORPUS)]
    for previous, token in pairwise(ids):
        follows[previous][token] += 1
    return defaultdict(lambda: (Counter(), 0), {one: (found, found.total()) for one, found in follows.items()})
