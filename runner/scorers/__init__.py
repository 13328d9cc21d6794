"""Owns scorers: pure functions from an answer to a number, one file each, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.errors import ConfigError, Problem
from runner.scorers import (
    bleu,
    chrf,
    embedding_similarity,
    exact_match,
    includes,
    json_schema,
    multiple_choice,
    numeric,
    perplexity,
    python,
    regex,
    rouge_l,
)
from runner.scorers.figures import Figure, ScoredRows, StatusFigure, figure, status_figures
from runner.scorers.scorer import ANSWERED, ANSWERED_PLACES, REFUSED, ScoreColumns, Scorer, Setting, score_rows, votes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "ANSWERED",
    "ANSWERED_PLACES",
    "REFUSED",
    "SCORERS",
    "Figure",
    "NamedScorer",
    "ScoreColumns",
    "ScoredRows",
    "Scorer",
    "ScorerKind",
    "Setting",
    "StatusFigure",
    "compile_scorers",
    "figure",
    "score_name",
    "score_rows",
    "stands_on_first_choices",
    "status_figures",
    "votes",
]


@dataclass(frozen=True, slots=True)
class ScorerKind:
    """A scorer's options, a dataclass whose fields are its config keys, and the function that makes it of them.

    The rest is known of its scores without making it: what a row without one counts as (null: nothing), how far they
    reach from worst to best (null: without end), whether a lower one is the better one, and the endpoint, if any, at
    which it judges all rows of a key together.
    """

    options: type[Any]
    make: Callable[[Any, Setting], Scorer]
    worst: float | None = 0.0
    span: float | None = 1.0
    lower_is_better: bool = False
    by_key_at: str | None = None


@dataclass(frozen=True, slots=True)
class NamedScorer:
    """One entry of `scorers` in a config: the name of its score, the scorer's, and the scorer."""

    name: str
    kind: str
    scorer: Scorer


SCORERS: dict[str, ScorerKind] = {
    "bleu": ScorerKind(bleu.Options, bleu.make, span=100.0),
    "chrf": ScorerKind(chrf.Options, chrf.make, span=100.0),
    "embedding_similarity": ScorerKind(embedding_similarity.Options, embedding_similarity.make, worst=None),
    "exact_match": ScorerKind(exact_match.Options, exact_match.make),
    "includes": ScorerKind(includes.Options, includes.make),
    "json_schema": ScorerKind(json_schema.Options, json_schema.make),
    "multiple_choice": ScorerKind(multiple_choice.Options, multiple_choice.make, by_key_at="loglikelihood"),
    "numeric": ScorerKind(numeric.Options, numeric.make),
    "perplexity": ScorerKind(perplexity.Options, perplexity.make, worst=None, span=None, lower_is_better=True),
    "python": ScorerKind(python.Options, python.make, span=None),
    "regex": ScorerKind(regex.Options, regex.make),
    "rouge_l": ScorerKind(rouge_l.Options, rouge_l.make),
}


def score_name(spec: Mapping[str, Any]) -> str:
    """Return the name of the score that an entry of `scorers` makes."""
    return str(spec.get("as") or spec["name"])


def stands_on_first_choices(kind: str, endpoint: str) -> bool:
    """Say whether a score of this scorer stands on choice 0 alone, for all rows of a key; false for one not known."""
    return kind in SCORERS and SCORERS[kind].by_key_at == endpoint


def compile_scorers(specs: Sequence[Mapping[str, Any]], setting: Setting) -> tuple[NamedScorer, ...]:
    """Make the scorers of a config, whose entries are valid. Raises ConfigError with all that cannot be made."""
    made: list[NamedScorer] = []
    problems: list[Problem] = []
    for number, spec in enumerate(specs):
        kind = SCORERS[spec["name"]]
        options = {name: value for name, value in spec.items() if name not in {"name", "as"}}
        try:
            made.append(NamedScorer(score_name(spec), spec["name"], kind.make(kind.options(**options), setting)))
        except ConfigError as error:
            problems += [
                Problem(f"scorers.{number}.{one.where}", f"{spec['name']}: {one.message}", one.hint)
                for one in error.problems
            ]
    if problems:
        raise ConfigError(problems)
    return tuple(made)
