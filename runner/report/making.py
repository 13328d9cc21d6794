"""Owns making a report, from the run folder to the file: survey, choose, read, compare, draw, render, write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from runner.durable import write_atomically
from runner.errors import BusyError, CannotCreateError
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from runner.records import STATUSES
from runner.report.bounding import bounded
from runner.report.charts import forest_chart, groups_chart, latency_chart, pace_chart
from runner.report.clock import clock_of
from runner.report.comparing import forests_of, told
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
from runner.report.versus import versus_of
from runner.report.wording import score
from runner.sinks import SCORES, read_anew, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runner.folder.manifest import Manifest
    from runner.report.pace import Pace
    from runner.report.rows import ShownRow
    from runner.report.scores import ScoreFacts
    from runner.report.survey import Survey
    from runner.report.versus import Versus

_TABLES: Final = ("responses", SCORES, "attempts", "raw")


@dataclass(frozen=True, slots=True)
class ReportMade:
    """What was written: the file and its size, and how many of the run's rows it shows in full.

    `compared_with` is the folder of the run that it is compared with, `verdict` what came of it; null without one.
    """

    path: str
    bytes: int
    rows: int
    rows_shown: int
    compared_with: str | None
    verdict: str | None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read of a run, as one commit has left it; `failed` counts attempts by kind."""

    manifest: Manifest
    survey: Survey
    rows: list[ShownRow]
    attempts: int
    failed: Mapping[str, int]


def write_report(run_dir: Path, output: Path, baseline: Path | None = None) -> ReportMade:
    """Write the report of a run, at any moment of it, to `output`; nothing else in the run folder changes.

    `baseline` is a run to compare with; without it that of the run's gates, if it is still there. Memory: a few numbers
    for each row (of both runs, where they are compared), one row group of a part at a time, and the rows that are
    shown. Raises RunFolderError, DamagedError, BusyError where parts are replaced faster than they can be read,
    CannotCreateError, StorageError, and UsageError without matplotlib.
    """
    drawing()
    folder = RunFolder(run_dir)
    seen = read_anew(lambda: _read(folder))
    manifest, survey = seen.manifest, seen.survey
    versus = versus_of(folder, manifest, baseline)
    scores = score_facts(survey, manifest.config, manifest.summary)
    pace = read_pace(folder.log)
    facts = {
        **head_of(manifest, survey),
        "verdict": verdict_of(manifest),
        "versus": told(versus),
        "scores": scores,
        "speed": speed_of(survey, manifest, pace, seen.attempts),
        "usage": usage_of(survey, manifest),
        "failures": failure_kinds(survey.by_error, seen.failed, seen.rows),
        "setup": setup_of(manifest),
        "charts": {**_charts(survey, scores, pace), "forests": _forests(versus)},
    }
    shown, longest = bounded(seen.rows)
    facts["sampled"] = {"rows": survey.rows, "shown": len(shown), "longest": longest, "by_status": _by_status(shown)}
    page = render(facts, _rows_json(manifest, survey, shown))
    if not output.parent.is_dir():
        raise CannotCreateError(f"{output}: no such folder", hint="-o FILE names a file in a folder that exists")
    write_atomically(output, page, staging=output.parent)
    found = versus.comparison
    with_run, verdict = (found.base.run_dir, found.verdict) if found else (None, None)
    return ReportMade(str(output), len(page), survey.rows, len(shown), with_run, verdict)


def _read(folder: RunFolder) -> _Seen:
    scoring = read_manifest(folder).scoring
    with take_snapshot(folder, _TABLES) as snapshot:
        manifest = read_manifest(folder)
        if manifest.scoring != scoring:
            raise BusyError(f"{folder.root}: was scored anew while it was opened", hint="read again")
        survey = survey_rows(snapshot, manifest, clock_of(manifest.sessions))
        attempts, failed = failed_attempts(snapshot)
        rows = read_rows(snapshot, manifest, survey.scores, survey.candidates.choose())
    return _Seen(manifest, survey, rows, attempts, failed)


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


def _forests(versus: Versus) -> list[dict[str, Any]]:
    scores = versus.comparison.scores if versus.comparison else {}
    return [
        {
            "drawn": forest_chart(f"forest-{number}", one),
            "tolerance": score(one.tolerance),
            "lower_is_better": one.lower_is_better,
        }
        for number, one in enumerate(forests_of(scores))
    ]


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
