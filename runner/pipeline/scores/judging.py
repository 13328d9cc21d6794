"""Owns judging a run by its gates: the baseline that its config names found, compared with it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.comparison import compare, last_good
from runner.config import config_from_dict
from runner.errors import ConfigError, Problem, RunFolderError, RunnerError, UsageError, internal_error
from runner.folder.layout import RunFolder
from runner.folder.manifest import COMPLETE, read_manifest, write_manifest
from runner.pipeline.scores.gates import Baseline, exit_code_of, failed_fraction_gate, score_gates, unjudged_gates
from runner.pipeline.scores.scoresummary import summarize_scores
from runner.scorers import score_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.comparison import Comparison
    from runner.config import RunConfig
    from runner.folder.commits import CommitLog
    from runner.folder.manifest import Manifest
    from runner.pipeline.scores.scorerows import ScoreRows
    from runner.pipeline.scores.scoring import Scoring

_NONE_YET = "no good run yet to compare with"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands in its folder, with what its scores come to; `complete` says that nothing of it is left."""

    config: RunConfig
    manifest: Manifest
    folder: RunFolder
    by_status: Mapping[str, int]
    scores: Mapping[str, Any]
    complete: bool


def judge(run: Run) -> tuple[list[dict[str, Any]], RunnerError | None]:
    """Return the gates of a run, and the bug that comparing it met, if any: a run's end is recorded all the same.

    Scores are judged of a complete run only.
    """
    gates = run.config.gates
    failed = failed_fraction_gate(run.by_status, gates.max_failed_fraction)
    if not run.complete:
        return [failed, *unjudged_gates(gates.scores, "the run is not complete")], None
    try:
        return [failed, *score_gates(gates.scores, run.scores, _baseline(run))], None
    except Exception as bug:  # noqa: BLE001 - whatever it is, the answers and scores are there
        error = internal_error("judging the gates", bug)
        return [failed, *unjudged_gates(gates.scores, error.message)], error


def renew_summary(
    config: RunConfig, manifest: Manifest, log: CommitLog, scoring: Scoring | None, known: ScoreRows | None = None
) -> None:
    """Bring scores, gates and exit code in the summary in line with the scores as they are now; without one, nothing.

    `known` are all rows, where they have just been scored. Raises what `summarize_scores` raises, StorageError, and
    RunnerError for a bug, when the rest is written.
    """
    if not manifest.summary:
        return
    scores = manifest.summary["scores"] = summarize_scores(log, scoring, known=known)
    complete = manifest.status == COMPLETE
    gates, bug = judge(Run(config, manifest, log.folder, log.totals.by_status, scores, complete))
    manifest.summary["gates"] = gates
    if complete:
        manifest.summary["exit_code"] = exit_code_of(gates)
    write_manifest(log.folder, manifest)
    if bug is not None:
        raise bug


def judge_pair(run_dir: Path, comparison: Comparison) -> list[dict[str, Any]]:
    """Return the score gates of a run's config, judged against the run that it was compared with, whatever that is.

    Scores that are not summed up yet, since the run did not end, count as none. Raises RunFolderError, ConfigError.
    """
    manifest = read_manifest(RunFolder(run_dir))
    config = config_from_dict(manifest.config, run_dir)
    baseline = Baseline(comparison, comparison.base.run_id, comparison.base.run_dir)
    return score_gates(config.gates.scores, manifest.summary.get("scores", {}), baseline)


def refuse_baseline(config: RunConfig) -> None:
    """Raise ConfigError for a baseline that nothing could be compared with, before anything is paid for."""
    named = config.gates.named_baseline
    if named is None:
        return
    try:
        manifest = read_manifest(RunFolder(Path(named)))
    except RunFolderError as error:
        hint = "name a run folder, or last_good"
        raise ConfigError([Problem("gates.baseline", error.message, hint)]) from error
    there = {score_name(spec) for spec in manifest.config.get("scorers", [])}
    missing = [name for name, gate in config.gates.scores.items() if gate.max_drop is not None and name not in there]
    if missing:
        hint = f"`evalrunner score {named} --set 'scorers=[…]'` gives it one, without a request"
        raise ConfigError([Problem("gates.baseline", f"the run has no score {', '.join(missing)}", hint)])


def _baseline(run: Run) -> Baseline | None:
    config, gates = run.config, run.config.gates
    if gates.baseline is None or all(gate.max_drop is None for gate in gates.scores.values()):
        return None
    named = gates.named_baseline
    binding = named is not None
    runs = Path(config.output.dir) / config.name
    base = last_good(runs, run.manifest) if named is None else Path(named)
    if base is None:
        return Baseline(note=_NONE_YET, binding=False)
    try:
        run_id = read_manifest(RunFolder(base)).run_id
        found = compare(base, run.folder.root, most_flips=0)
    except UsageError as error:
        return Baseline(run_dir=str(base), note=f"cannot be compared: {error.message}", binding=binding)
    except RunnerError as error:  # a baseline that is damaged is no reason to let everything pass
        return Baseline(run_dir=str(base), note=f"cannot be read: {error.message}")
    return Baseline(found, run_id, str(base), binding=binding)
