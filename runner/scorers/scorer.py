"""Owns what a scorer is, and scoring rows with it: which rows it gets to see, and what becomes of the others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from runner.jsontext import scrub
from runner.records import STATUSES, Score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

# A truncated answer is scored as it stands; a refusal is an answer that is worth nothing.
ANSWERED: Final = frozenset({"ok", "truncated"})
REFUSED: Final = frozenset({"refused", "content_filter"})
# The places in STATUSES of rows that have an answer, a refusal too.
ANSWERED_PLACES: Final = tuple(place for place, status in enumerate(STATUSES) if status in ANSWERED | REFUSED)
RIGHT: Final = Score(1.0)
WRONG: Final = Score(0.0)
NO_TARGET: Final = Score(None, "no target")
_NOT_FIRST: Final = Score(None)
_MAX_NOTE = 500
_VALUE, _NOTE = attrgetter("value"), attrgetter("note")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a scorer may know of the run: its endpoint, and which kept columns the rows have, as `in_<column>`."""

    endpoint: str = "chat"
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scorer with its options.

    `score` gets the values of the columns it `reads`, in that order, of one row; with `by_key` a list of each, of all
    rows of a key, and the score stands on choice 0. `worst` is what a row without an answer counts as among all rows,
    null where there is no such value. `answer` gives, from the same values, the answer that repeats vote with.
    `against` is the run whose vectors stand in the column `other_embedding`.
    """

    reads: tuple[str, ...]
    score: Callable[..., Score]
    worst: float | None = 0.0
    by_key: bool = False
    answer: Callable[..., str | None] | None = None
    against: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """A score of each row: NaN in `values` where a row has none; `notes` say why, or what was odd, else null."""

    values: NDArray[np.float64]
    notes: list[str | None]


def score_rows(scorer: Scorer, columns: Mapping[str, Sequence[Any]]) -> ScoreColumns:
    """Score rows given as columns: `key`, `choice`, `status` and what the scorer reads. Raises nothing.

    Rows that were refused get the worst score, rows that failed or were skipped none; a note says which. Whatever the
    scorer raises becomes a note, and so does a value that is not finite.
    """
    scores = _score_keys(scorer, columns) if scorer.by_key else _score_each(scorer, columns)
    values, notes = np.array(list(map(_VALUE, scores)), dtype=np.float64), list(map(_NOTE, scores))
    for place in np.flatnonzero(~np.isfinite(values)).tolist():
        if (value := scores[place].value) is not None:  # no mean could hold it
            values[place] = np.nan
            notes[place] = notes[place] or f"the score is {value}"
    return ScoreColumns(values, notes)


def _score_each(scorer: Scorer, columns: Mapping[str, Sequence[Any]]) -> list[Score]:
    statuses = columns["status"]
    read = [columns[name] for name in scorer.reads]
    if statuses.count("ok") == len(statuses):
        return _scores(scorer.score, read)
    answered = [status in ANSWERED for status in statuses]
    scored = iter(_scores(scorer.score, [compress(column, answered) for column in read]))
    return [next(scored) if one else unanswered(scorer, status) for one, status in zip(answered, statuses, strict=True)]


def unanswered(scorer: Scorer, status: str) -> Score:
    """Return the score of a row that is not scored by its content."""
    return Score(scorer.worst if status in REFUSED else None, status)


def votes(scorer: Scorer, columns: Mapping[str, Sequence[Any]]) -> list[str | None]:
    """Return the answer that each row votes with; null for rows that have none."""
    if scorer.answer is None:
        return [None] * len(columns["status"])
    found: list[str | None] = []
    rows = zip(*(columns[name] for name in scorer.reads), strict=True)
    for status, values in zip(columns["status"], rows, strict=True):
        try:
            found.append(scorer.answer(*values) if status in ANSWERED else None)
        except Exception:  # noqa: BLE001 - what cannot be read has no vote, as it has no score
            found.append(None)
    return found


def _scores(score: Callable[..., Score], columns: Sequence[Iterable[Any]]) -> list[Score]:
    scores: list[Score] = []
    rest = map(score, *columns)
    while True:
        try:
            # What was scored before an error stays in the list, and the next round goes on behind the row that raised.
            scores.extend(rest)
        except Exception as error:  # noqa: BLE001 - whatever a scorer does, the row was paid for and stays
            scores.append(Score(None, scrub(f"{type(error).__name__}: {error}")[:_MAX_NOTE]))
        else:
            return scores


def _score_keys(scorer: Scorer, columns: Mapping[str, Sequence[Any]]) -> list[Score]:
    keys, choices, statuses = columns["key"], columns["choice"], columns["status"]
    scores: list[Score] = []
    first = 0
    while first < len(keys):
        last = first + 1
        while last < len(keys) and keys[last] == keys[first]:
            last += 1
        scores += _score_key(scorer, columns, (first, last), (choices[first:last], statuses[first:last]))
        first = last
    return scores


def _score_key(
    scorer: Scorer,
    columns: Mapping[str, Sequence[Any]],
    rows: tuple[int, int],
    placed: tuple[Sequence[int], Sequence[str]],
) -> list[Score]:
    choices, statuses = placed
    if 0 not in choices:
        return [_NOT_FIRST] * len(choices)
    place = choices.index(0)
    if all(status in ANSWERED for status in statuses):
        (one,) = _scores(scorer.score, [[columns[name][slice(*rows)]] for name in scorer.reads])
    elif statuses[place] not in ANSWERED:
        one = unanswered(scorer, statuses[place])
    else:
        missing = [choice for choice, status in zip(choices, statuses, strict=True) if status not in ANSWERED]
        one = Score(None, f"no answer for choice {', '.join(map(str, missing))}")
    return [one if position == place else _NOT_FIRST for position in range(len(choices))]
