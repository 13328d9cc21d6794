"""Owns scores as parts: one of `scores/<scoring_id>/` beside each part of `responses`, and the change of scorers.

A part of `responses` and its scores are put in place by one commit, whether it is sealed, rewritten or parsed again.
Other scorers get an id of their own: all parts are scored into staging, one commit puts them in place, the manifest
names the new scoring, and only then the old one is removed. A kill at any instant leaves a whole scoring that is named.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.crash_points import crash_point
from runner.digest import digest_of
from runner.durable import create_folder
from runner.folder.commits import Commit, CommittedFile, staged_path
from runner.folder.layout import scores_table
from runner.folder.manifest import write_manifest
from runner.pipeline.scores.scoring import make_scoring, scorer_specs, scorers_digest, write_scores

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config import RunConfig
    from runner.folder.commits import CommitLog
    from runner.folder.layout import RunFolder
    from runner.folder.manifest import Manifest
    from runner.pipeline.scores.scorerows import ScoreRows
    from runner.pipeline.storing.plan import Sealing


def with_scoring(sealing: Sealing, manifest: Manifest, config: RunConfig) -> Sealing:
    """Let sealing write the scores of the scoring that the manifest names, if it is that of the config."""
    if not manifest.scoring or scorers_digest(config) != manifest.scoring.rpartition("-")[2]:
        return replace(sealing, scoring=None)
    return replace(sealing, scoring=make_scoring(manifest.scoring, sealing.folder, config, manifest.columns))


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


def score_again(
    sealing: Sealing, manifest: Manifest, config: RunConfig, log: CommitLog, rows: ScoreRows | None = None
) -> Sealing:
    """Score every part anew under a new id, and switch to it. Returns the sealing that goes on with it.

    `rows` gets what the scores are summed up from. The manifest's config gets the scorers, so that a later session goes
    on with them. Raises ConfigError, DamagedError, StorageError; then the old scoring stands.
    """
    folder = sealing.folder
    fresh = replace(sealing, scoring=make_scoring(_next_id(manifest, log, config), folder, config, manifest.columns))
    if fresh.scoring is None:  # which it never is; the type does not say so
        return fresh
    create_folder(folder.table("scores"))
    create_folder(folder.table(fresh.scoring.table))
    number = log.next_number
    files: list[CommittedFile] = []
    for part in log.parts("responses"):
        files += stage_scores(fresh, number, part.name, folder.table("responses") / part.name, rows)
        crash_point("scoring:after-part")
    log.append(Commit(number, "score", files=tuple(files)))
    crash_point("scoring:after-commit")
    manifest.scoring = fresh.scoring.id
    manifest.config["scorers"] = scorer_specs(config)
    manifest.config_digest = digest_of(manifest.config).hex()
    write_manifest(folder, manifest)
    crash_point("scoring:after-switch")
    _remove_others(folder, log, manifest.scoring)
    return fresh


def stage_scores(
    sealing: Sealing, commit: int, part: str, source: Path, rows: ScoreRows | None = None
) -> tuple[CommittedFile, ...]:
    """Score a part of `responses`, itself staged or in place, into staging; return what its commit says of it.

    Holds one batch of rows at a time; `rows` gets what the scores are summed up from. Nothing is staged where nothing
    is scored.
    """
    scoring = sealing.scoring
    if scoring is None:
        return ()
    path = staged_path(sealing.folder, commit, scoring.table, part)
    writer = write_scores(scoring, source, path, sealing.metadata, rows)
    return (CommittedFile(scoring.table, part, writer.rows, *writer.size_and_crc32),)


def _next_id(manifest: Manifest, log: CommitLog, config: RunConfig) -> str:
    """Return an id that was never used: `0002-1a2b3c4d`, a number and a digest of the scorers with their options."""
    used = [manifest.scoring, *(name.rpartition("/")[2] for name in _tables(log))]
    number = max((int(one.partition("-")[0]) for one in used if one), default=0) + 1
    return f"{number:04d}-{scorers_digest(config)}"


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
