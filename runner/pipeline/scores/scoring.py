"""Owns a scoring: the scorers of a config under one id, and a part of `responses` scored by them, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.digest import digest_of
from runner.errors import ConfigError, Problem
from runner.folder.layout import scores_table
from runner.pipeline.scores.othervectors import OtherVectors
from runner.scorers import Setting, compile_scorers, score_rows
from runner.sinks import (
    PartWriter,
    column_statuses,
    column_values,
    read_columns,
    read_whole_keys,
    scores_schema,
    status_texts,
    table_schema,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from runner.config import RunConfig
    from runner.folder.layout import RunFolder
    from runner.pipeline.scores.scorerows import ScoreRows
    from runner.scorers import NamedScorer

_OWN = ("key", "choice", "status")
_OTHER = "other_embedding"


@dataclass(frozen=True, slots=True)
class Scoring:
    """A set of scorers under the id that its parts stand under. `others` holds the vectors of runs compared with."""

    id: str
    scorers: tuple[NamedScorer, ...]
    others: Mapping[str, OtherVectors]

    @property
    def table(self) -> str:
        """Where its parts lie in the run folder."""
        return scores_table(self.id)


def scorers_for(config: RunConfig, columns: Mapping[str, str]) -> tuple[NamedScorer, ...]:
    """Make the scorers of a config. `columns` are the kept dataset columns.

    Raises ConfigError for scorers that cannot be made or that read what the run does not have.
    """
    kept = tuple(f"in_{name}" for name in columns)
    made = compile_scorers(scorer_specs(config), Setting(config.request.endpoint, kept))
    known = {*table_schema("responses", columns, {}).names, _OTHER}
    problems = []
    for number, one in enumerate(made):
        strange = [name for name in one.scorer.reads if name not in known]
        if strange:
            hint = "`evalrunner schema responses` lists the columns; dataset columns are in_<column>"
            problems.append(Problem(f"scorers.{number}.columns", f"there is no column {', '.join(strange)}", hint))
        if "target" in one.scorer.reads and config.dataset.target is None and one.kind != "python":
            hint = "name the column with the reference answer: dataset: {target: …}"
            problems.append(Problem(f"scorers.{number}", f"{one.kind} compares with a target, and there is none", hint))
    if problems:
        raise ConfigError(problems)
    return made


def make_scoring(scoring_id: str, folder: RunFolder, config: RunConfig, columns: Mapping[str, str]) -> Scoring:
    """Make the scorers of a config under an id. Raises as `scorers_for` does."""
    scorers = scorers_for(config, columns)
    against = {one.scorer.against for one in scorers if one.scorer.against is not None}
    return Scoring(scoring_id, scorers, {path: OtherVectors(path, folder) for path in against})


def scorer_specs(config: RunConfig) -> list[dict[str, Any]]:
    """Return the scorers of a config as a manifest keeps them."""
    return [one.model_dump(mode="json", by_alias=True) for one in config.scorers]


def scorers_digest(config: RunConfig) -> str:
    """Return eight hex digits that differ where scorers or their options do."""
    return digest_of(scorer_specs(config)).hex()[:8]


def write_scores(
    scoring: Scoring, source: Path, path: Path, metadata: Mapping[str, str], rows: ScoreRows | None = None
) -> PartWriter:
    """Score a part of `responses` into a new part, and return its writer, closed. Holds one batch of rows at a time.

    `rows` gets what the scores are summed up from.
    """
    schema = scores_schema([one.name for one in scoring.scorers], metadata)
    with PartWriter(path, schema, light=True, repeating=schema.names[2:]) as writer:
        for batch in _batches(scoring, source, summed=rows is not None):
            statuses = column_statuses(batch)
            made = _scored(scoring, batch, statuses)
            writer.write_columns(made)
            if rows is not None:
                rows.add(batch, statuses)
                rows.add_values({one.name: made[f"score_{one.name}"] for one in scoring.scorers})
    return writer


def _batches(scoring: Scoring, source: Path, *, summed: bool) -> Iterable[Any]:
    wanted = {name for one in scoring.scorers for name in one.scorer.reads if name != _OTHER}
    if scoring.others:
        wanted |= {"sample_id", "repeat"}
    if summed:
        wanted.add("repeat")
    columns = list(dict.fromkeys((*_OWN, *sorted(wanted))))
    by_key = any(one.scorer.by_key for one in scoring.scorers)
    return read_whole_keys(source, columns) if by_key else read_columns(source, columns)


def _scored(scoring: Scoring, batch: Any, statuses: NDArray[np.int8]) -> dict[str, Any]:
    """Return the columns of the scores of one batch."""
    by_key = any(one.scorer.by_key for one in scoring.scorers)
    read: dict[str, list[Any]] = {"status": status_texts(statuses)}
    if by_key:
        read |= {name: column_values(batch, name) for name in ("key", "choice")}
    made: dict[str, Any] = {"key": batch.column("key"), "choice": batch.column("choice")}
    for one in scoring.scorers:
        for name in one.scorer.reads:
            if name not in read and name != _OTHER:
                read[name] = column_values(batch, name)
        columns: dict[str, list[Any]] = read
        if one.scorer.against is not None:
            columns = {**read, _OTHER: scoring.others[one.scorer.against].beside(batch)}
        scores = score_rows(one.scorer, columns)
        made[f"score_{one.name}"] = scores.values
        if any(note is not None for note in scores.notes):
            made[f"{one.name}_note"] = scores.notes
    return made
