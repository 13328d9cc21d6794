"""Owns the scores of a report: each with its interval and both denominators, of all rows and by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from runner.records import STATUSES
from runner.report.shown import name_of
from runner.scorers import ANSWERED_PLACES, SCORERS
from runner.sinks import joined_arrays
from runner.statistics import clustered, interval, numbered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from runner.report.survey import Grouping, Survey
    from runner.statistics import Interval

# That of a scorer which this version does not have.
_WORST: Final = 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One score over some rows: its mean over those that have one, and over all, where a row without counts as 0."""

    name: str
    mean: float | None
    interval: Interval | None
    answered: int
    scored: int
    mean_all: float | None
    all: int


@dataclass(frozen=True, slots=True)
class GroupedScore:
    """One score by the values of one kept column, the largest groups first."""

    column: str
    groups: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class ScoreFacts:
    """All there is to say of one score. `repeats` holds pass@k and the majority's score, where there are repeats.

    `by_status` says how rows of each status are counted.
    """

    name: str
    scorer: str
    overall: Figure
    by_group: tuple[GroupedScore, ...]
    by_status: tuple[tuple[str, int, float | None], ...]
    repeats: Mapping[str, Any]

    @property
    def unit(self) -> bool:
        """Whether all means lie between 0 and 1."""
        figures = [self.overall, *(one for grouped in self.by_group for one in grouped.groups)]
        ends = [end for one in figures if one.interval for end in (one.interval.low, one.interval.high)]
        means = [one.mean for one in figures if one.mean is not None]
        return all(0 <= value <= 1 for value in (*ends, *means))


def score_facts(survey: Survey, config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[ScoreFacts]:
    """Return each score of a run. The figures are those of the summary, found again as the rows stand now."""
    table = _Table(
        joined_arrays(survey.statuses, np.int8),
        _numbered(survey),
        joined_arrays(survey.firsts, np.bool_),
        survey.groups,
    )
    return [_facts(table, spec, survey, summary.get("scores", {})) for spec in _specs(survey, config)]


@dataclass(frozen=True, slots=True)
class _Table:
    statuses: NDArray[np.int8]
    samples: NDArray[np.int64]
    firsts: NDArray[np.bool_]
    groups: Mapping[str, Grouping]


def _specs(survey: Survey, config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    specs: Sequence[Mapping[str, Any]] = config.get("scorers", [])
    return list(zip(survey.scores, specs, strict=True)) if survey.scores else []


def _facts(
    table: _Table, named: tuple[str, Mapping[str, Any]], survey: Survey, summary: Mapping[str, Any]
) -> ScoreFacts:
    name, spec = named
    kind, values = str(spec["name"]), joined_arrays(survey.values[name], np.float64)
    counted = _counted(table, values, spec)
    worst = SCORERS[kind].worst if kind in SCORERS else _WORST
    known = summary.get(name, {})
    return ScoreFacts(
        name,
        kind,
        _figure(name, table, values, counted, worst),
        tuple(_by_group(one, table, values, counted, worst) for one in table.groups.values()),
        _by_status(table, values, counted),
        {key: known[key] for key in ("pass_at", "majority_vote") if key in known},
    )


def _counted(table: _Table, values: NDArray[np.float64], spec: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return the rows that count: of a multiple choice by likelihood one for all continuations of a sample."""
    by_key = spec["name"] == "multiple_choice" and spec.get("by", "auto") in {"auto", "loglikelihood"}
    alone = by_key and not np.isfinite(values[~table.firsts]).any() and not table.firsts.all()
    return table.firsts if alone else np.ones(len(values), dtype=bool)


def _figure(
    name: str, table: _Table, values: NDArray[np.float64], rows: NDArray[np.bool_], worst: float | None
) -> Figure:
    chosen, statuses = values[rows], table.statuses[rows]
    scored = np.isfinite(chosen)
    samples = table.samples[rows][scored]
    if len(samples) < len(table.samples):  # numbered among themselves, where they are few of all
        _, samples = np.unique(samples, return_inverse=True)
    clusters = clustered(samples, chosen[scored], int(samples.max()) + 1 if len(samples) else 0)
    everything = None if worst is None or not len(chosen) else float(np.where(scored, chosen, worst).mean())
    answered = int(np.isin(statuses, ANSWERED_PLACES).sum())
    return Figure(name, clusters.mean, interval(clusters), answered, int(scored.sum()), everything, len(chosen))


def _by_group(
    grouping: Grouping,
    table: _Table,
    values: NDArray[np.float64],
    counted: NDArray[np.bool_],
    worst: float | None,
) -> GroupedScore:
    numbers = joined_arrays(grouping.rows, np.int8)
    figures = [
        _figure(name_of(value), table, values, counted & (numbers == number), worst)
        for value, number in grouping.names.items()
    ]
    return GroupedScore(name_of(grouping.column), tuple(sorted(figures, key=lambda one: (-one.all, one.name))))


def _by_status(
    table: _Table, values: NDArray[np.float64], counted: NDArray[np.bool_]
) -> tuple[tuple[str, int, float | None], ...]:
    found = []
    for number, status in enumerate(STATUSES):
        rows = counted & (table.statuses == number)
        if rows.any():
            known = values[rows & np.isfinite(values)]
            found.append((status, int(rows.sum()), float(known.mean()) if len(known) else None))
    return tuple(found)


def _numbered(survey: Survey) -> NDArray[np.int64]:
    """Return a number for each row's sample, in the order in which samples came: intervals draw in that order."""
    if not survey.repeated:
        return np.arange(survey.rows)
    numbers, _ = numbered(joined_arrays(survey.samples, np.int64))
    return numbers
