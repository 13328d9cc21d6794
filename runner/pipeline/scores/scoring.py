"""Owns scores as parts: one of `scores/<scoring_id>/` beside each part of `responses`, and the change of scorers.

A part of `responses` and its scores are put in place by one commit, whether it is sealed, rewritten or parsed again.
Other scorers get an id of their own: all parts are scored into staging, one commit puts them in place, the manifest
names the new scoring, and only then the old one is removed. A kill at any instant leaves a whole scoring that is named.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from runner.crash_points import crash_point
from runner.digest import digest_of
from runner.durable import create_folder
from runner.errors import ConfigError, Problem
from runner.folder.commits import Commit, CommittedFile, staged_path
from runner.folder.layout import scores_table
from runner.folder.manifest import write_manifest
from runner.pipeline.scores.othervectors import OtherVectors
from runner.scorers import Setting, compile_scorers, score_rows
from runner.sinks import (
    PartWriter,
    column_values,
    file_crc32,
    read_columns,
    read_whole_keys,
    scores_schema,
    table_schema,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from runner.config import RunConfig
    from runner.folder.commits import CommitLog
    from runner.folder.layout import RunFolder
    from runner.folder.manifest import Manifest
    from runner.pipeline.storing.sealing import Sealing
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
    made = compile_scorers(_specs(config), Setting(config.request.endpoint, kept))
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


def with_scoring(sealing: Sealing, manifest: Manifest, config: RunConfig) -> Sealing:
    """Let sealing write the scores of the scoring that the manifest names, if it is that of the config."""
    if not manifest.scoring or _digest(config) != manifest.scoring.rpartition("-")[2]:
        return replace(sealing, scoring=None)
    return replace(sealing, scoring=_scoring(manifest.scoring, sealing.folder, manifest, config))


def ensure_scoring(sealing: Sealing, manifest: Manifest, config: RunConfig, log: CommitLog) -> Sealing:
    """Bring the scores in line with the config's scorers, which may be none; return the sealing that keeps them so."""
    _remove_others(sealing.folder, log, manifest.scoring)
    if not config.scorers:
        if manifest.scoring:
            manifest.scoring = ""
            write_manifest(sealing.folder, manifest)
            _remove_others(sealing.folder, log, "")
        return replace(sealing, scoring=None)
    current = with_scoring(sealing, manifest, config)
    if current.scoring is not None and _names(log, current.scoring.table) == _names(log, "responses"):
        return current
    return score_again(sealing, manifest, config, log)


def score_again(sealing: Sealing, manifest: Manifest, config: RunConfig, log: CommitLog) -> Sealing:
    """Score every part anew under a new id, and switch to it. Returns the sealing that goes on with it.

    The manifest's config gets the scorers, so that a later session goes on with them. Raises ConfigError, DamagedError,
    StorageError; then the old scoring stands.
    """
    folder = sealing.folder
    fresh = replace(sealing, scoring=_scoring(_next_id(manifest, log, config), folder, manifest, config))
    if fresh.scoring is None:  # which it never is; the type does not say so
        return fresh
    create_folder(folder.table("scores"))
    create_folder(folder.table(fresh.scoring.table))
    number = log.next_number
    files: list[CommittedFile] = []
    for part in log.parts("responses"):
        files += stage_scores(fresh, number, part.name, folder.table("responses") / part.name)
        crash_point("scoring:after-part")
    log.append(Commit(number, "score", files=tuple(files)))
    crash_point("scoring:after-commit")
    manifest.scoring = fresh.scoring.id
    manifest.config["scorers"] = _specs(config)
    manifest.config_digest = digest_of(manifest.config).hex()
    write_manifest(folder, manifest)
    crash_point("scoring:after-switch")
    _remove_others(folder, log, manifest.scoring)
    return fresh


def stage_scores(sealing: Sealing, commit: int, part: str, source: Path) -> tuple[CommittedFile, ...]:
    """Score a part of `responses`, itself staged or in place, into staging; return what its commit says of it.

    Holds one batch of rows at a time. Nothing is staged where nothing is scored.
    """
    scoring = sealing.scoring
    if scoring is None:
        return ()
    path = staged_path(sealing.folder, commit, scoring.table, part)
    names = [one.name for one in scoring.scorers]
    schema = scores_schema(names, sealing.metadata)
    with PartWriter(path, schema, repeating=schema.names[2:]) as writer:
        for batch in _batches(scoring, source):
            writer.write_columns(_scored(scoring, batch))
    size, crc32 = file_crc32(path)
    return (CommittedFile(scoring.table, part, writer.rows, size, crc32),)


def _batches(scoring: Scoring, source: Path) -> Iterable[Any]:
    wanted = {name for one in scoring.scorers for name in one.scorer.reads if name != _OTHER}
    if scoring.others:
        wanted |= {"sample_id", "repeat"}
    columns = list(dict.fromkeys((*_OWN, *sorted(wanted))))
    by_key = any(one.scorer.by_key for one in scoring.scorers)
    return read_whole_keys(source, columns) if by_key else read_columns(source, columns)


def _scored(scoring: Scoring, batch: Any) -> dict[str, Any]:
    """Return the columns of the scores of one batch."""
    by_key = any(one.scorer.by_key for one in scoring.scorers)
    read: dict[str, list[Any]] = {"status": column_values(batch, "status")}
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
        made[f"score_{one.name}"] = list(map(attrgetter("value"), scores))
        made[f"{one.name}_note"] = list(map(attrgetter("note"), scores))
    return made


def _scoring(scoring_id: str, folder: RunFolder, manifest: Manifest, config: RunConfig) -> Scoring:
    scorers = scorers_for(config, manifest.columns)
    against = {one.scorer.against for one in scorers if one.scorer.against is not None}
    return Scoring(scoring_id, scorers, {path: OtherVectors(path, folder) for path in against})


def _specs(config: RunConfig) -> list[dict[str, Any]]:
    return [one.model_dump(mode="json", by_alias=True) for one in config.scorers]


def _digest(config: RunConfig) -> str:
    return digest_of(_specs(config)).hex()[:8]


def _next_id(manifest: Manifest, log: CommitLog, config: RunConfig) -> str:
    """Return an id that was never used: `0002-1a2b3c4d`, a number and a digest of the scorers with their options."""
    used = [manifest.scoring, *(name.rpartition("/")[2] for name in _tables(log))]
    number = max((int(one.partition("-")[0]) for one in used if one), default=0) + 1
    return f"{number:04d}-{_digest(config)}"


def _tables(log: CommitLog) -> set[str]:
    return {where for where, _ in log.files if where.startswith(scores_table(""))}


def _names(log: CommitLog, table: str) -> list[str]:
    return [part.name for part in log.parts(table)]


def _remove_others(folder: RunFolder, log: CommitLog, scoring_id: str) -> None:
    """Remove every scoring but one: they can be made again, and would have to be kept in line for nothing."""
    gone = _tables(log) - {scores_table(scoring_id)}
    if gone:
        places = tuple(sorted(place for place in log.files if place[0] in gone))
        log.append(Commit(log.next_number, "score", removed=places))
    for path in folder.table("scores").glob("*"):
        if path.name != scoring_id:
            with contextlib.suppress(OSError):  # an empty folder does no harm
                path.rmdir()
