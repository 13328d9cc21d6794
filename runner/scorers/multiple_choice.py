"""Owns the scorer multiple_choice: 1 where the choice that was made is the target's; else 0."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from runner.errors import ConfigError, Problem
from runner.records import Score
from runner.scorers.choices import Letters, target_place
from runner.scorers.scorer import NO_TARGET, RIGHT, WRONG, Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.scorers.scorer import Setting

_NO_LETTER = Score(0.0, "no choice in the answer")
_NO_LOGPROBS = Score(None, "no log probabilities")
_NO_SUCH_TARGET = Score(None, "the target is none of the choices")


@dataclass(frozen=True, slots=True)
class Options:
    """How the choice is read, and what the target means."""

    by: Literal["auto", "text", "logprobs", "loglikelihood"] = field(
        default="auto",
        metadata={
            "description": "text: the letter that the answer names; logprobs: the most likely of the letters; "
            "loglikelihood: the most likely continuation. auto: loglikelihood with that endpoint, else text."
        },
    )
    letters: str = field(default="ABCDEFGHIJ", metadata={"min_length": 2, "description": "Letters of the choices."})
    target: Literal["auto", "letter", "index", "text"] = field(
        default="auto",
        metadata={
            "description": "What the target is: a letter, a place counted from 0, or a continuation's text. auto: the "
            "first of text, index and letter that fits."
        },
    )
    normalise: Literal["none", "characters", "bytes", "tokens"] = field(
        default="none", metadata={"description": "What a log-likelihood is divided by before they are compared."}
    )
    delimiter: str = field(
        default=" ",
        metadata={"description": "What a continuation begins with that its length in characters or bytes leaves out."},
    )


def make(options: Options, setting: Setting) -> Scorer:
    """Return the scorer. Raises ConfigError where the endpoint has no log-likelihoods to compare."""
    likely = setting.endpoint == "loglikelihood"
    by = options.by if options.by != "auto" else "loglikelihood" if likely else "text"
    if (by == "loglikelihood") != likely:
        wants = "the endpoint loglikelihood" if by == "loglikelihood" else "an endpoint that answers with text"
        raise ConfigError([Problem("by", f"{by} wants {wants}, and this run's is {setting.endpoint}")])
    letters = Letters(options.letters)
    if by == "text":
        return _by_text(options, letters)
    return _by_logprobs(options, letters) if by == "logprobs" else _by_likelihood(options, letters)


def _by_text(options: Options, letters: Letters) -> Scorer:
    def compare(text: str | None, target: str | None) -> Score:
        return _judge(letters.find(text or ""), target, options, letters)

    def answer(text: str | None, _: str | None) -> str | None:
        place = letters.find(text or "")
        return None if place is None else str(place)

    return Scorer(("text", "target"), compare, answer=answer)


def _by_logprobs(options: Options, letters: Letters) -> Scorer:
    def choose(tokens: Sequence[str], tops: Sequence[Sequence[str]], values: Sequence[Sequence[float | None]]) -> Any:
        at = next((n for n, token in enumerate(tokens) if letters.of_token(token) is not None), 0)
        best, place = -math.inf, None
        for token, value in zip(tops[at], values[at], strict=True) if tops else ():
            found = letters.of_token(token)
            if found is not None and value is not None and value > best:
                best, place = value, found
        return place

    def compare(tokens: Any, tops: Any, values: Any, target: str | None) -> Score:
        if tokens is None or tops is None or values is None:
            return _NO_LOGPROBS
        return _judge(choose(tokens, tops, values), target, options, letters)

    return Scorer(("tokens", "top_tokens", "top_logprobs", "target"), compare)


def _judge(place: int | None, target: str | None, options: Options, letters: Letters) -> Score:
    if target is None:
        return NO_TARGET
    wanted = target_place(target, options.target, letters, None)
    if wanted is None:
        return _NO_SUCH_TARGET
    if place is None:
        return _NO_LETTER
    return RIGHT if place == wanted else WRONG


def _by_likelihood(options: Options, letters: Letters) -> Scorer:
    length = _LENGTHS[options.normalise]

    def compare(choices: Any, texts: Any, likelihoods: Any, targets: Any, tokens: Any = None) -> Score:
        if targets[0] is None:
            return NO_TARGET
        order = sorted(range(len(choices)), key=choices.__getitem__)
        ordered = [texts[row] for row in order]
        if None in ordered or any(likelihoods[row] is None for row in order):
            return Score(None, "a continuation has no log-likelihood")
        wanted = target_place(targets[0], options.target, letters, ordered)
        if wanted is None or wanted >= len(order):
            return _NO_SUCH_TARGET
        lengths = [length(texts[row].removeprefix(options.delimiter), tokens and tokens[row]) for row in order]
        if not all(lengths):
            return Score(None, "a continuation is empty")
        values = [likelihoods[row] / size for row, size in zip(order, lengths, strict=True)]
        # Of equal ones the first, as everywhere.
        return RIGHT if values.index(max(values)) == wanted else WRONG

    reads = ("choice", "continuation", "loglikelihood", "target")
    return Scorer((*reads, "tokens") if options.normalise == "tokens" else reads, compare, by_key=True)


_LENGTHS: dict[str, Callable[[str, Any], int]] = {
    "none": lambda _text, _tokens: 1,
    "characters": lambda text, _tokens: len(text),
    "bytes": lambda text, _tokens: len(text.encode()),
    "tokens": lambda _text, tokens: len(tokens or ()),
}
