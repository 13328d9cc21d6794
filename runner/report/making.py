"""Owns making a report, from the run folder to the file: survey, choose, read, draw, render, write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.durable import write_atomically
from runner.errors import CannotCreateError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from runner.records import STATUSES
from runner.report.bounding import bounded
from runner.report.charts import groups_chart, latency_chart, pace_chart
from runner.report.clock import clock_of
from runner.report.facts import head_of, setup_of, speed_of, usage_of
from runner.report.failures import failed_attempts, failure_kinds
from runner.report.pace import read_pace
from runner.report.page import render
from runner.report.rows import read_rows
from runner.report.scores import score_facts
from runner.report.shown import name_of
from runner.report.survey import SHARES, survey_rows
from runner.report.svg import drawing
from runner.report.verdict import verdict_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runner.folder.manifest import Manifest
    from runner.report.pace import Pace
    from runner.report.scores import ScoreFacts
    from runner.report.survey import Survey


@dataclass(frozen=True, slots=True)
class ReportMade:
    """What was written: the file and its size, and how many of the run's rows it shows in full."""

    path: str
    bytes: int
    rows: int
    rows_shown: int


def write_report(run_dir: Path, output: Path) -> ReportMade:
    """Write the report of a run, at any moment of it, to `output`; nothing else in the run folder changes.

    Memory: a few numbers for each row, one row group of a part at a time, and the rows that are shown. Raises
    RunFolderError, DamagedError, CannotCreateError, StorageError, and UsageError without matplotlib.
    """
    drawing()
    folder = RunFolder(run_dir)
    manifest = read_manifest(folder)
    log = read_commits(folder)
    survey = survey_rows(log, manifest, clock_of(manifest.sessions))
    attempts, failed = failed_attempts(log)
    rows = read_rows(log, manifest, survey.scores, survey.candidates.choose())
    scores = score_facts(survey, manifest.config, manifest.summary)
    pace = read_pace(folder.log)
    facts = {
        **head_of(manifest, survey),
        "verdict": verdict_of(manifest),
        "scores": scores,
        "speed": speed_of(survey, manifest, pace, attempts),
        "usage": usage_of(survey, manifest),
        "failures": failure_kinds(survey.by_error, failed, rows),
        "setup": setup_of(manifest),
        "charts": _charts(survey, scores, pace),
    }
    shown, longest = bounded(rows)
    facts["sampled"] = {"rows": survey.rows, "shown": len(shown), "longest": longest, "by_status": _by_status(shown)}
    page = render(facts, _rows_json(manifest, survey, shown))
    if not output.parent.is_dir():
        raise CannotCreateError(f"{output}: no such folder", hint="-o FILE names a file in a folder that exists")
    write_atomically(output, page, staging=output.parent)
    return ReportMade(str(output), len(page), survey.rows, len(shown))


def _charts(survey: Survey, scores: Sequence[ScoreFacts], pace: Pace) -> dict[str, Any]:
    """Return the charts that there is something to show in; SVG that `svg` has tamed."""
    charts: dict[str, Any] = {"groups": {}, "latency": None, "pace": None}
    for number, one in enumerate(scores):
        charts["groups"][one.name] = [
            groups_chart(f"g{number}-{place}", one, grouped) for place, grouped in enumerate(one.by_group)
        ]
    if survey.times["latency_s"].count:
        charts["latency"] = latency_chart("latency", survey.times["latency_s"])
    if survey.over_time.counts.any():
        charts["pace"] = pace_chart("pace", survey.over_time, pace, SHARES)
    return charts


def _rows_json(manifest: Manifest, survey: Survey, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = list(manifest.columns)
    return {
        "columns": [name_of(one) for one in columns],
        "scores": [name_of(one) for one in survey.scores],
        "groups": [
            {"column": columns.index(name), "values": sorted(name_of(value) for value in one.names)}
            for name, one in survey.groups.items()
        ],
        "rows": shown,
    }


def _by_status(shown: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    counts = [(status, sum(row["status"] == status for row in shown)) for status in STATUSES]
    return [one for one in counts if one[1]]
