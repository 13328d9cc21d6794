"""Owns the end of a night: the verdict, what is removed, the pages, who is told, the record."""

from __future__ import annotations

from datetime import UTC
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from runner.durable import write_atomically
from runner.errors import RunnerError
from runner.nightly.child import Stop, run_child
from runner.nightly.outcome import event_of, exit_code_of, verdict_of
from runner.nightly.page import night_page
from runner.nightly.record import records
from runner.nightly.retention import remove_nights, remove_runs
from runner.nightly.telling import tell

if TYPE_CHECKING:
    from runner.nightly.night import Ways
    from runner.nightly.record import ConfigRecord
    from runner.nightly.turns import Keeper

# A page is made of rows that are there: minutes for a million of them.
_REPORT_S = 600.0


def conclude(keeper: Keeper, ways: Ways) -> None:
    """Bring a night to its end. What goes wrong here is in the record, and lost files in the exit code."""
    record, suite = keeper.record, keeper.suite
    for one in record.configs:
        one.event = event_of(one.state, one.before)
        if ways.reports and one.status is not None:
            _report(one, ways)
    _remove(keeper)
    record.verdict = verdict_of(record.configs)
    record.ended_at = ways.now().astimezone(UTC).isoformat(timespec="seconds")
    record.exit_code = exit_code_of(record.configs, keeper.trouble_codes)
    keeper.save()
    _write_pages(keeper)
    record.exit_code = exit_code_of(record.configs, keeper.trouble_codes)
    record.deliveries += tell(suite, record)
    keeper.save()
    record.exit_code = exit_code_of(record.configs, keeper.trouble_codes)


def _report(one: ConfigRecord, ways: Ways) -> None:
    """Have the run's own page made, in a process of its own; without one the night is as good."""
    begun = ways.now()
    command = (*ways.command, "report", one.run_dir)
    try:
        anyio.run(
            run_child,
            command,
            Path(one.log),
            lambda: _REPORT_S - (ways.now() - begun).total_seconds(),
            Stop(),
            ways.patience,
        )
    except OSError:
        return
    page = Path(one.run_dir) / "report.html"
    one.report = str(page) if page.exists() else None


def _remove(keeper: Keeper) -> None:
    record = keeper.record
    compared = {Path(str(gate.get("baseline_dir"))).name for one in record.configs for gate in one.gates}
    for member in keeper.suite.members:
        gone, troubles = remove_runs(member.runs, member.config.nightly.keep, {record.run_id, *compared})
        record.removed += gone
        record.troubles += troubles
    record.troubles += remove_nights(keeper.suite.folder, keeper.suite.keep)


def _write_pages(keeper: Keeper) -> None:
    folder = keeper.suite.folder
    earlier = [one for one in records(folder) if one.run_id != keeper.record.run_id]
    contents = {folder.page: night_page(keeper.record, earlier, folder.root), folder.junit: _junit(keeper)}
    for path, text in contents.items():
        try:
            write_atomically(path, text.encode("utf-8", "replace"), staging=folder.staging)
        except RunnerError as error:
            keeper.note(error)


def _junit(keeper: Keeper) -> str:
    """Return the night as JUnit XML: a case for each config, failed where it is not good."""
    record = keeper.record
    cases = []
    for one in record.configs:
        head = f'<testcase classname="{_xml(record.suite)}" name="{_xml(one.name)}" time="{one.duration_s:.3f}"'
        if one.exit_code == 0:
            cases.append(f"{head}/>")
            continue
        told = f'<failure type="{_xml(one.state)}" message="{_xml(one.verdict)}">{_xml(one.message)}</failure>'
        cases.append(f"{head}>{told}</testcase>")
    failed = sum(one.exit_code != 0 for one in record.configs)
    counts = f'tests="{len(cases)}" failures="{failed}" errors="0"'
    head = f'<testsuite name="{_xml(record.suite)}" {counts} timestamp="{_xml(record.started_at)}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>", ""])


def _xml(text: str) -> str:
    """Return a text as XML holds it; what XML cannot hold is replaced."""
    return escape("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text))
