"""Owns what a request is expected to cost in tokens before its answer tells. It learns from what answers told.

Prompts are estimated from their bytes; the ratio between what servers counted and that estimate is learnt. An answer is
expected to be as long as the request allows, since servers charge that (OpenAI, Azure), and where it allows any length,
as long as answers were.
"""

from __future__ import annotations

# Answers are forgotten by this share with each new one: language and templates of a dataset may change along it.
_FORGET = 0.02
_FIRST_COMPLETION = 256.0
# Lengths vary: what is reserved should seldom be short.
_MARGIN = 1.5
_LEAST_RATIO, _MOST_RATIO = 0.1, 10.0


class Reserve:
    """Token counts to be expected, from those of the answers so far."""

    __slots__ = ("_completion", "_counted", "_estimated", "_known")

    def __init__(self) -> None:
        self._counted = self._estimated = 1.0
        self._completion = _FIRST_COMPLETION
        self._known = False

    def prompt(self, estimate: int) -> int:
        """Return the prompt tokens to expect where a plain estimate says `estimate`."""
        ratio = min(max(self._counted / self._estimated, _LEAST_RATIO), _MOST_RATIO)
        return round(estimate * ratio) or min(estimate, 1)

    def answer(self, longest: int | None) -> int:
        """Return the answer tokens to expect; `longest` is what the request allows, null where it does not say."""
        return round(self._completion * (_MARGIN if self._known else 1.0)) if longest is None else longest

    def learn(self, estimate: int, prompt_tokens: int | None, completion_tokens: int | None) -> None:
        """Learn from one answer; nulls and nonsense teach nothing."""
        if prompt_tokens is not None and estimate > 0 and 0 < prompt_tokens < estimate * 100:
            self._counted += prompt_tokens - _FORGET * self._counted
            self._estimated += estimate - _FORGET * self._estimated
        if completion_tokens is not None and 0 <= completion_tokens < 10**7:
            share = _FORGET if self._known else 1.0
            self._completion += share * (completion_tokens - self._completion)
            self._known = True
