"""Owns the job of scoring a run again: answers stay as they are, no request is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.config import config_from_dict, to_dict
from runner.errors import UsageError
from runner.folder.commits import read_commits
from runner.folder.lock import hold_lock
from runner.folder.manifest import read_manifest
from runner.pipeline.opening import open_existing, sealing_of
from runner.pipeline.scores.gates import FAILED_FRACTION
from runner.pipeline.scores.judging import renew_summary
from runner.pipeline.scores.scorerows import ScoreRows
from runner.pipeline.scores.scoresummary import summarize_scores
from runner.pipeline.storing.recovery import recover
from runner.pipeline.storing.scoreparts import score_again, with_scoring
from runner.sinks import table_schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CHANGEABLE = ("scorers", "gates")


@dataclass(frozen=True, slots=True)
class Rescored:
    """What scoring again came to. `scores` are those of the summary, with groups where they were asked for.

    `gates` are those of the run, judged again where it is complete; `missed` says that one of a score was missed.
    """

    run_dir: str
    scoring: str
    parts: int
    rows: int
    scores: dict[str, Any]
    gates: list[dict[str, Any]]

    @property
    def missed(self) -> bool:
        """Say whether a score gate was missed."""
        return any(gate["passed"] is False for gate in self.gates if gate["name"] != FAILED_FRACTION)


def rescore(run_dir: Path, overrides: Sequence[str] = (), by: str | None = None) -> Rescored:
    """Score every answer of a run with the scorers of its config, or of `overrides` (`scorers=…`), and switch to that.

    The gates of a complete run are judged again, those of the config or of `overrides` (`gates.…`). Raises BusyError
    while a process holds the run; UsageError, ConfigError, DamagedError, StorageError: then the old scores stand.
    """
    folder, _ = open_existing(run_dir)
    for text in overrides:
        if text.partition("=")[0].partition(".")[0] not in _CHANGEABLE:
            raise UsageError(
                f"--set {text.partition('=')[0]}: only scorers and gates can change here", hint="--set scorers=…"
            )
    with hold_lock(folder):
        manifest = read_manifest(folder)
        present = config_from_dict(manifest.config, folder.root)
        config = config_from_dict(manifest.config, folder.root, overrides=overrides)
        if not config.scorers:
            raise UsageError(
                f"{run_dir}: the run has no scorers", hint="name some: --set 'scorers=[{name: exact_match}]'"
            )
        if by is not None and by not in table_schema("responses", manifest.columns, {}).names:
            raise UsageError(f"--by: there is no column {by}", hint="dataset columns are in_<column>")
        log = read_commits(folder)
        sealing = with_scoring(sealing_of(folder, manifest, present), manifest, present)
        recover(sealing, log)
        manifest.config["gates"] = to_dict(config)["gates"]
        rows = ScoreRows()
        fresh = score_again(sealing, manifest, config, log, rows)
        renew_summary(config, manifest, log, fresh.scoring, rows)
        scores = manifest.summary.get("scores")
        if by is not None or scores is None:
            scores = summarize_scores(log, fresh.scoring, by, known=rows)
        parts = log.parts(fresh.scoring.table if fresh.scoring else "")
    return Rescored(
        run_dir=str(folder.root),
        scoring=manifest.scoring,
        parts=sum(part.rows > 0 for part in parts),
        rows=sum(part.rows for part in parts),
        scores=scores,
        gates=manifest.summary.get("gates", []),
    )
