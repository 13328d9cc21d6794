"""Owns the scorer perplexity: how surprised the model was by its own answer, or by a continuation. Lower is better."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from runner.records import Score
from runner.scorers.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.scorers.scorer import Setting


@dataclass(frozen=True, slots=True)
class Options:
    """What the log probability is divided over."""

    per: Literal["token", "word", "byte"] = field(
        default="token", metadata={"description": "The unit: exp(-log probability / number of units)."}
    )


def make(options: Options, setting: Setting) -> Scorer:
    """Return the scorer; there is no worst perplexity."""

    def measure(total: float | None, text: str | None, tokens: int) -> Score:
        if total is None:
            return Score(None, "no log probabilities")
        units = {"token": tokens, "word": len((text or "").split()), "byte": len((text or "").encode())}[options.per]
        return Score(math.exp(-total / units)) if units else Score(None, f"not one {options.per}")

    def of_continuation(likelihood: float | None, text: str | None, tokens: Sequence[str] | None) -> Score:
        return measure(likelihood, text, len(tokens or ()))

    def of_answer(values: Sequence[float | None] | None, text: str | None) -> Score:
        if values is None or None in values:
            return Score(None, "no log probabilities" if values is None else "a log probability is missing")
        known: Any = values
        return measure(math.fsum(known), text, len(known))

    if setting.endpoint == "loglikelihood":
        return Scorer(("loglikelihood", "continuation", "tokens"), of_continuation, worst=None)
    return Scorer(("token_logprobs", "text"), of_answer, worst=None)
