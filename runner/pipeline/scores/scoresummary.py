"""Owns what a scoring comes to: each score's mean over answered and over all rows, its interval, repeats, groups.

Read from the parts, a batch at a time; kept of a row are a sample's number, a status and the values of its scores.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.digest import digest128
from runner.errors import UsageError
from runner.pipeline.scores.scorerows import ScoreRows
from runner.scorers import ScoredRows, figure, status_figures, votes
from runner.sinks import (
    column_hashes,
    column_numbers,
    column_statuses,
    column_values,
    joined_arrays,
    read_columns,
)
from runner.statistics import clustered, majority_scores, numbered, pass_at_k

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runner.folder.commits import CommitLog
    from runner.pipeline.scores.scoring import Scoring
    from runner.scorers import NamedScorer

_MOST_GROUPS = 1000
_NONE = "(null)"


@dataclass(frozen=True, slots=True)
class _Table:
    """What is summed up: one place a row."""

    rows: ScoredRows
    orders: NDArray[np.int64]
    votes: NDArray[np.int64] | None

    def at(self, mask: NDArray[np.bool_]) -> _Table:
        """Return some of the rows."""
        if mask.all():
            return self
        return _Table(self.rows.at(mask), self.orders[mask], None if self.votes is None else self.votes[mask])

    def renumbered(self) -> _Table:
        """Return the same rows with samples numbered among themselves, where they are few of all."""
        return replace(self, rows=self.rows.renumbered())


def summarize_scores(
    log: CommitLog, scoring: Scoring | None, by: str | None = None, *, known: ScoreRows | None = None
) -> dict[str, Any]:
    """Return what each score comes to, by name; with `by`, a column of `responses`, also by its values.

    `known` are all rows, where they have just been scored, and need not be read again. Raises DamagedError, UsageError
    for a column that has too many values.
    """
    if scoring is None:
        return {}
    rows = known if known is not None and by is None else _read(log, scoring, by, repeated=False)
    repeated = rows.repeated
    if repeated:
        rows = _read(log, scoring, by, repeated=True)
    # Without repeats and choices each row is a sample of its own.
    samples, count = numbered(joined_arrays(rows.samples, np.int64)) if repeated else (None, sum(map(len, rows.orders)))
    statuses, orders = joined_arrays(rows.statuses, np.int8), joined_arrays(rows.orders, np.int64)
    firsts, groups = orders % 2**31 == 0, joined_arrays(rows.groups, np.int64)
    summary: dict[str, Any] = {}
    for one in scoring.scorers:
        own = joined_arrays(rows.votes[one.name], np.int64) if one.name in rows.votes else None
        scored = ScoredRows(samples, count, statuses, joined_arrays(rows.values.get(one.name, ()), np.float64))
        table = _Table(scored, orders, own)
        mask = firsts if one.scorer.by_key else np.ones(len(firsts), dtype=bool)
        summary[one.name] = _describe(one, table.at(mask))
        if by is not None:
            summary[one.name]["by"] = {
                "column": by,
                "groups": {
                    name: _describe(one, table.at(mask & (groups == number)).renumbered())
                    for name, number in sorted(rows.names.items())
                },
            }
    return summary


def _describe(one: NamedScorer, table: _Table) -> dict[str, Any]:
    """Return the figures of one score over some rows."""
    rows, worst = table.rows, one.scorer.worst
    found = figure(rows, worst)
    facts: dict[str, Any] = {
        "scorer": one.kind,
        "mean": found.mean,
        "interval": None if found.interval is None else [found.interval.low, found.interval.high],
        "interval_method": None if found.interval is None else found.interval.method,
        "answered": found.answered,
        "scored": found.scored,
        "mean_all": found.mean_all,
        "all": found.all,
        "samples": _count_samples(rows),
        "by_status": {status: asdict(of_status) for status, of_status in status_figures(rows).items()},
    }
    if rows.samples is not None and found.all > facts["samples"] and worst is not None:
        facts |= _of_repeats(table, rows.samples, np.where(rows.there, rows.values, worst), facts["samples"])
    return facts


def _count_samples(rows: ScoredRows) -> int:
    if rows.samples is None:
        return len(rows.values)
    return int(np.count_nonzero(np.bincount(rows.samples, minlength=rows.count)))


def _of_repeats(
    table: _Table, samples: NDArray[np.int64], values: NDArray[np.float64], everyone: int
) -> dict[str, Any]:
    """Return pass@k, where all scores are 0 or 1, and the score of the majority's answer, where rows can vote."""
    facts: dict[str, Any] = {}
    if np.isin(values, (0.0, 1.0)).all():
        counts = clustered(samples, values, table.rows.count)
        passed = counts.sums.astype(np.int64)
        most = int(counts.rows.max())
        steps = sorted({1, most, *(2**power for power in range(most.bit_length()) if 2**power <= most)})
        facts["pass_at"] = {str(k): pass_at_k(counts.rows, passed, k) for k in steps}
    if table.votes is not None:
        voting = table.rows.there & (table.votes != 0)
        _, chosen = majority_scores(samples[voting], table.orders[voting], table.votes[voting], values[voting])
        # A sample in which nobody voted has no majority, and counts as wrong among all.
        facts["majority_vote"] = {
            "mean": float(chosen.mean()) if len(chosen) else None,
            "answered": len(chosen),
            "mean_all": float(chosen.sum()) / everyone if everyone else None,
            "all": everyone,
        }
    return facts


def _read(log: CommitLog, scoring: Scoring, by: str | None, *, repeated: bool) -> ScoreRows:
    voters = [one for one in scoring.scorers if repeated and one.scorer.answer is not None]
    wanted = ["status", "repeat", "choice", *(name for one in voters for name in one.scorer.reads)]
    if repeated:
        wanted.append("sample_id")
    if by is not None:
        wanted.append(by)
    rows = ScoreRows(votes={one.name: [] for one in voters})
    for part in log.parts("responses"):
        for batch in read_columns(log.folder.table("responses") / part.name, list(dict.fromkeys(wanted))):
            _add(rows, batch, voters, by)
        names = [f"score_{one.name}" for one in scoring.scorers]
        for batch in read_columns(log.folder.table(scoring.table) / part.name, names):
            rows.add_values({one.name: column_numbers(batch, f"score_{one.name}") for one in scoring.scorers})
    return rows


def _add(rows: ScoreRows, batch: Any, voters: list[NamedScorer], by: str | None) -> None:
    count = batch.num_rows
    if "sample_id" in batch.schema.names:
        rows.samples.append(column_hashes(batch, ["sample_id"]))
    rows.add(batch, column_statuses(batch))
    for one in voters:
        columns = {name: column_values(batch, name) for name in ("status", *one.scorer.reads)}
        answers = (0 if answer is None else _number(answer) for answer in votes(one.scorer, columns))
        rows.votes[one.name].append(np.fromiter(answers, dtype=np.int64, count=count))
    if by is not None:
        rows.groups.append(np.fromiter((_group(rows.names, one) for one in column_values(batch, by)), np.int64, count))


def _number(answer: str) -> int:
    """Return a number for an answer, never 0."""
    return int.from_bytes(digest128(answer.encode("utf-8", "replace"))[:8], "little", signed=True) | 1


def _group(names: dict[str, int], value: Any) -> int:
    name = _NONE if value is None else str(value)
    if name not in names and len(names) >= _MOST_GROUPS:
        raise UsageError(f"--by: the column has more than {_MOST_GROUPS:,} values", hint="choose one with fewer")
    return names.setdefault(name, len(names))
