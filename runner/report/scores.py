"""Owns the scores of a report: each with its interval and both denominators, of all rows and by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from runner.report.shown import name_of
from runner.scorers import SCORERS, ScoredRows, figure, stands_on_first_choices, status_figures
from runner.sinks import joined_arrays
from runner.statistics import numbered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from runner.report.survey import Grouping, Survey
    from runner.scorers import Figure, StatusFigure

# That of a scorer which this version does not have.
_WORST: Final = 0.0


@dataclass(frozen=True, slots=True)
class GroupedScore:
    """One score by the values of one kept column, each as it is shown, the largest groups first."""

    column: str
    groups: tuple[tuple[str, Figure], ...]


@dataclass(frozen=True, slots=True)
class ScoreFacts:
    """All there is to say of one score. `repeats` holds pass@k and the majority's score, where there are repeats.

    `by_status` says how rows of each status are counted.
    """

    name: str
    scorer: str
    overall: Figure
    by_group: tuple[GroupedScore, ...]
    by_status: Mapping[str, StatusFigure]
    repeats: Mapping[str, Any]

    @property
    def unit(self) -> bool:
        """Whether all means lie between 0 and 1."""
        figures = [self.overall, *(one for grouped in self.by_group for _, one in grouped.groups)]
        ends = [end for one in figures if one.interval for end in (one.interval.low, one.interval.high)]
        means = [one.mean for one in figures if one.mean is not None]
        return all(0 <= value <= 1 for value in (*ends, *means))


def score_facts(survey: Survey, config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[ScoreFacts]:
    """Return each score of a run. The figures are those of the summary, found again as the rows stand now."""
    table = _Table(
        _numbered(survey),
        joined_arrays(survey.statuses, np.int8),
        joined_arrays(survey.firsts, np.bool_),
        survey.groups,
        config["request"]["endpoint"],
    )
    return [_facts(table, spec, survey, summary.get("scores", {})) for spec in _specs(survey, config)]


@dataclass(frozen=True, slots=True)
class _Table:
    samples: NDArray[np.int64] | None
    statuses: NDArray[np.int8]
    firsts: NDArray[np.bool_]
    groups: Mapping[str, Grouping]
    endpoint: str


def _specs(survey: Survey, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the name of each score, and that of its scorer."""
    specs: Sequence[Mapping[str, Any]] = config.get("scorers", [])
    return [(name, str(spec["name"])) for name, spec in zip(survey.scores, specs, strict=True)] if survey.scores else []


def _facts(table: _Table, named: tuple[str, str], survey: Survey, summary: Mapping[str, Any]) -> ScoreFacts:
    name, kind = named
    rows = ScoredRows(table.samples, survey.rows, table.statuses, joined_arrays(survey.values[name], np.float64))
    counted = table.firsts if stands_on_first_choices(kind, table.endpoint) else np.ones(survey.rows, dtype=np.bool_)
    worst = SCORERS[kind].worst if kind in SCORERS else _WORST
    known = summary.get(name, {})
    return ScoreFacts(
        name,
        kind,
        figure(rows.at(counted), worst),
        tuple(_by_group(one, rows, counted, worst) for one in table.groups.values()),
        status_figures(rows.at(counted)),
        {key: known[key] for key in ("pass_at", "majority_vote") if key in known},
    )


def _by_group(grouping: Grouping, rows: ScoredRows, counted: NDArray[np.bool_], worst: float | None) -> GroupedScore:
    numbers = joined_arrays(grouping.rows, np.int8)
    figures = [
        (name_of(value), figure(rows.at(counted & (numbers == number)).renumbered(), worst))
        for value, number in grouping.names.items()
    ]
    return GroupedScore(name_of(grouping.column), tuple(sorted(figures, key=lambda one: (-one[1].all, one[0]))))


def _numbered(survey: Survey) -> NDArray[np.int64] | None:
    """Return a number for each row's sample, in the order in which samples came: intervals draw in that order."""
    if not survey.repeated:
        return None
    numbers, _ = numbered(joined_arrays(survey.samples, np.int64))
    return numbers
