"""Owns the end of a session: parts brought in line with the dataset, gates, summary, manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.config import Budget
from runner.errors import RunnerError, internal_error
from runner.folder.manifest import COMPLETE, INCOMPLETE, write_manifest
from runner.pipeline.requests.adapting import note_lessons
from runner.pipeline.requests.omissions import OMITTED
from runner.pipeline.scores.gates import exit_code_of
from runner.pipeline.scores.judging import Run, judge
from runner.pipeline.scores.scoresummary import summarize_scores
from runner.pipeline.storing.superseding import reconcile
from runner.pipeline.summary import Ending, summarize

if TYPE_CHECKING:
    from runner.folder.totals import Totals
    from runner.pipeline.opening import OpenRun
    from runner.pipeline.sending.control import Control
    from runner.pipeline.summary import RunSummary
from runner.pipeline.opening import utc_now

# Some of the run was never sent; it can be resumed.
_INCOMPLETE = 6


def conclude(opened: OpenRun, control: Control, wall_s: float) -> RunSummary:
    """End a session: record how it went and return the summary of the run."""
    kind, error = control.kind, control.error
    unsent = opened.again.unsent if opened.again else 0
    if kind is None and opened.again is None:
        try:
            reconcile(opened.sealing, opened.log, opened.production)
        except RunnerError as trouble:
            error = trouble
        except Exception as bug:  # noqa: BLE001 - whatever it is, the run's end is recorded and its answers are safe
            error = internal_error("bringing the parts in line with the dataset", bug)
    scores: dict[str, Any] = {}
    try:
        scores = summarize_scores(opened.log, opened.sealing.scoring)
    except RunnerError as trouble:
        error = error or trouble
    except Exception as bug:  # noqa: BLE001 - as above
        error = error or internal_error("summing up the scores", bug)
    totals = opened.log.totals
    complete = error is None and kind is None and not unsent
    gates, trouble_found = judge(
        Run(opened.prepared.config, opened.manifest, opened.folder, totals.by_status, scores, complete)
    )
    error = error or trouble_found
    if error is not None and kind is None:
        status, exit_code = "interrupted", error.exit_code
    elif kind is not None:
        status, exit_code = kind.status, kind.exit_code
    elif unsent:
        status, exit_code = INCOMPLETE, _INCOMPLETE
    else:
        status, exit_code = COMPLETE, exit_code_of(gates)
    manifest, session = opened.manifest, opened.manifest.sessions[-1]
    session.ended_at, session.status, session.exit_code = utc_now(), status, exit_code
    session.wall_s = round(wall_s, 3)
    session.message = opened.prepared.redactor.text(error.message) if error else None
    summary = summarize(
        manifest.run_id,
        str(opened.folder.root),
        totals,
        (opened.scan.samples, opened.scan.samples * opened.prepared.plan.repeats),
        Ending(
            status, exit_code, sum(one.wall_s for one in manifest.sessions), _warnings(opened, error), gates, scores
        ),
    )
    if opened.adapting is not None:
        note_lessons(manifest.capabilities, opened.adapting, opened.prepared.redactor)
    manifest.status, manifest.warnings, manifest.summary = status, summary.warnings, summary.to_json()
    write_manifest(opened.folder, manifest)
    opened.events.write("session ended", {"status": status, "exit_code": exit_code, "message": session.message})
    return summary


def _beside_usage(totals: Totals) -> str:
    dollars = f" (${totals.charged_usd:,.6f})" if totals.charged_usd else ""
    return f"{totals.charged_tokens:,} tokens{dollars} that no answer's usage states are counted against the budget"


def _warnings(opened: OpenRun, error: RunnerError | None) -> list[str]:
    totals = opened.log.totals
    warnings = [*opened.options.warnings, *opened.prepared.warnings, *opened.doubts]
    if opened.scan.bad_rows:
        warnings.append(f"{opened.scan.bad_rows} dataset rows were skipped")
    if totals.parse_notes:
        warnings.append(f"{totals.parse_notes} rows have a parse_note")
    if totals.possibly_billed:
        warnings.append(f"{totals.possibly_billed} requests may have been billed without an answer reaching the disk")
    if totals.charged_tokens and opened.prepared.config.budget != Budget():
        warnings.append(_beside_usage(totals))
    watch = opened.omissions
    if OMITTED in opened.manifest.warnings or (watch and watch.found and not watch.stops):
        warnings.append(OMITTED)
    if opened.adapting is not None:
        warnings += [opened.prepared.redactor.text(lesson.describe()) for lesson in opened.adapting.lessons]
    if opened.again is not None and opened.again.unsent:
        warnings.append(f"{opened.again.unsent} requests were never sent: a run without --only sends them")
    if error is not None:
        text = f"{error.message}" + (f" ({error.hint})" if error.hint else "")
        warnings.append(opened.prepared.redactor.text(text))
    return warnings
