"""Owns the pass over all rows of a run: what is counted of them, and which of them may be shown.

Kept of a row are a number for its status, its sample and each group it is in, and its scores: what means and their
intervals are made of. Everything else is counted a batch at a time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from runner.records import STATUSES
from runner.report.choosing import Candidates, key_hashes
from runner.report.tally import OverTime, Times
from runner.scorers import score_name
from runner.sinks import (
    SCORES,
    column_hashes,
    column_numbers,
    column_statuses,
    column_times,
    column_values,
    joined_arrays,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runner.folder.manifest import Manifest
    from runner.report.clock import RunClock
    from runner.sinks import PartFile, Snapshot

# What a bar of the chart over time is made of: answers, refusals, failures.
_SHARES: Final = np.array([0, 0, 1, 1, 2, 2])
SHARES: Final = ("answered", "refused", "failed")
# A column with more different values than these makes no groups.
MOST_GROUPS: Final = 12
_MOST_COLUMNS: Final = 6
_GROUPING_KINDS: Final = {"string", "bool", "int64"}
_USAGE: Final = ("prompt_tokens", "completion_tokens", "total_tokens", "reasoning_tokens", "cached_tokens", "cost_usd")
_TIMES: Final = ("latency_s", "first_token_s", "queued_s")


@dataclass(slots=True)
class Grouping:
    """The values of one kept column: a number for each, and for each row the number of its value."""

    column: str
    names: dict[Any, int] = field(default_factory=dict)
    rows: list[NDArray[np.int8]] = field(default_factory=list)

    def add(self, values: Sequence[Any]) -> bool:
        """Take the next rows in; false when the column has too many values to make groups."""
        for value in dict.fromkeys(values):
            if value not in self.names:
                if len(self.names) >= MOST_GROUPS or (isinstance(value, str) and len(value) > _LONGEST_GROUP):
                    return False
                self.names[value] = len(self.names)
        self.rows.append(np.fromiter((self.names[value] for value in values), np.int8, len(values)))
        return True


_LONGEST_GROUP: Final = 200


@dataclass(slots=True)
class Survey:
    """What all rows come to. Lists hold an array for each batch of rows, in the order of the parts.

    `usage` sums by status; of a run with several choices the first row of an answer carries it. `priced` and `unpriced`
    count answers with and without a known cost.
    """

    scores: tuple[str, ...]
    candidates: Candidates
    rows: int = 0
    statuses: list[NDArray[np.int8]] = field(default_factory=list)
    samples: list[NDArray[np.int64]] = field(default_factory=list)
    firsts: list[NDArray[np.bool_]] = field(default_factory=list)
    values: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    groups: dict[str, Grouping] = field(default_factory=dict)
    by_status: Counter[str] = field(default_factory=Counter)
    by_error: Counter[str] = field(default_factory=Counter)
    usage: dict[str, Counter[str]] = field(default_factory=dict)
    priced: int = 0
    unpriced: int = 0
    repeated: bool = False
    times: dict[str, Times] = field(default_factory=lambda: {name: Times() for name in _TIMES})
    over_time: OverTime = field(default_factory=lambda: OverTime(len(SHARES)))


def survey_rows(snapshot: Snapshot, manifest: Manifest, clock: RunClock) -> Survey:
    """Read the columns of all rows that figures are made of. Raises DamagedError, BusyError."""
    names = _score_names(manifest)
    survey = Survey(names, Candidates(names), values={name: [] for name in names})
    survey.groups = {name: Grouping(name) for name, kind in manifest.columns.items() if kind in _GROUPING_KINDS}
    for name, part in snapshot.tables["responses"].items():
        beside = _scores_beside(snapshot.tables[SCORES].get(name), names, part.rows)
        first = 0
        for batch in part.batches(_columns(survey)):
            scores = [beside[name][first : first + batch.num_rows] for name in names]
            _add(survey, batch, scores, clock)
            first += batch.num_rows
    survey.groups = _useful(survey)
    return survey


def _score_names(manifest: Manifest) -> tuple[str, ...]:
    if not manifest.scoring:
        return ()
    return tuple(map(score_name, manifest.config.get("scorers", [])))


def _columns(survey: Survey) -> list[str]:
    fixed = ["key", "sample_id", "repeat", "choice", "request_row", "status", "error_kind", "finished_at"]
    return [*fixed, *_USAGE, *_TIMES, *(f"in_{name}" for name in survey.groups)]


def _scores_beside(part: PartFile | None, names: Sequence[str], rows: int) -> dict[str, NDArray[np.float64]]:
    """Return the scores of a part's rows; none where the part of scores is not there."""
    nothing = {name: np.full(rows, np.nan) for name in names}
    if part is None:
        return nothing
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    for batch in part.batches([f"score_{name}" for name in names]):
        for name in names:
            found[name].append(column_numbers(batch, f"score_{name}"))
    joined = {name: joined_arrays(found[name], np.float64) for name in names}
    return joined if all(len(values) == rows for values in joined.values()) else nothing


def _add(survey: Survey, batch: Any, scores: Sequence[NDArray[np.float64]], clock: RunClock) -> None:
    statuses, kinds = column_values(batch, "status"), column_values(batch, "error_kind")
    numbers = column_statuses(batch)
    choices = column_numbers(batch, "choice")
    heads = (choices == 0) & (np.nan_to_num(column_numbers(batch, "request_row")) == 0)
    survey.rows += len(statuses)
    survey.statuses.append(numbers)
    survey.firsts.append(choices == 0)
    survey.repeated = survey.repeated or bool(choices.any() or column_numbers(batch, "repeat").any())
    survey.samples.append(column_hashes(batch, ["sample_id"]))
    for name, values in zip(survey.scores, scores, strict=True):
        survey.values[name].append(values)
    survey.by_status.update(statuses)
    survey.by_error.update(kind for kind in kinds if kind is not None)
    _add_usage(survey, batch, numbers)
    for name in _TIMES:
        survey.times[name].add(column_numbers(batch, name)[heads])
    survey.over_time.add(clock.elapsed_s(column_times(batch, "finished_at")), _SHARES[numbers])
    for name, grouping in list(survey.groups.items()):
        if not grouping.add(column_values(batch, f"in_{name}")):
            del survey.groups[name]
    troubles = [None if one == "ok" else f"{one}:{kind}" for one, kind in zip(statuses, kinds, strict=True)]
    hashes = key_hashes(column_values(batch, "key"), len(statuses))
    survey.candidates.add(hashes, troubles, column_numbers(batch, "latency_s"), scores)


def _add_usage(survey: Survey, batch: Any, numbers: NDArray[np.int8]) -> None:
    columns = {name: np.nan_to_num(column_numbers(batch, name)) for name in _USAGE}
    for number in np.unique(numbers):
        rows = numbers == number
        sums = survey.usage.setdefault(STATUSES[number], Counter())
        sums.update({name: float(values[rows].sum()) for name, values in columns.items()})
    tokens, costs = column_numbers(batch, "total_tokens"), column_numbers(batch, "cost_usd")
    survey.priced += int(np.isfinite(costs).sum())
    survey.unpriced += int((np.isfinite(tokens) & ~np.isfinite(costs)).sum())


def _useful(survey: Survey) -> dict[str, Grouping]:
    """Return the columns that make groups worth looking at: several values, and several rows each."""
    wanted = {
        name: one for name, one in survey.groups.items() if len(one.names) > 1 and survey.rows >= 2 * len(one.names)
    }
    fewest = sorted(wanted, key=lambda name: len(wanted[name].names))[:_MOST_COLUMNS]
    return {name: one for name, one in wanted.items() if name in fewest}
