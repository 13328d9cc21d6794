"""Owns the end of a night: the review, what is removed, the verdict, the pages, who is told, the record."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner.durable import write_atomically
from runner.errors import RunnerError
from runner.junit import Case, Suite, junit_xml
from runner.nightly.outcome import event_of
from runner.nightly.page import night_page
from runner.nightly.record import records
from runner.nightly.retention import remove_nights, remove_runs
from runner.nightly.review import review
from runner.nightly.telling import tell
from runner.nightly.verdict import exit_code_of, verdict_of
from runner.pipeline.scores.gatecases import gate_cases

if TYPE_CHECKING:
    from runner.nightly.record import ConfigRecord, NightRecord
    from runner.nightly.turns import Keeper
    from runner.nightly.ways import Ways

_STOPPED: Final = (130, 143)


def conclude(keeper: Keeper, ways: Ways) -> None:
    """Bring a night to its end. What goes wrong here is in the record, and lost files in the exit code."""
    record, suite = keeper.record, keeper.suite
    for one in record.configs:
        one.event = event_of(one.state, one.before)
    if not any(code in _STOPPED for code in keeper.trouble_codes):  # whoever ends a night does not wait for pages
        review(keeper, ways)
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


def _remove(keeper: Keeper) -> None:
    record = keeper.record
    compared = {Path(path).name for one in record.configs for path in _compared_with(one)}
    for member in keeper.suite.members:
        gone, troubles = remove_runs(member.runs, member.config.nightly.keep, {record.run_id, *compared})
        record.removed += gone
        record.troubles += troubles
    record.troubles += remove_nights(keeper.suite.folder, keeper.suite.keep)


def _compared_with(one: ConfigRecord) -> list[str]:
    """Return the folders of the runs that a config's gates and scores were compared with."""
    gates = [str(gate["baseline_dir"]) for gate in one.gates if gate.get("baseline_dir")]
    return [*gates, str(one.comparison["base_dir"])] if one.comparison is not None else gates


def _write_pages(keeper: Keeper) -> None:
    folder = keeper.suite.folder
    earlier = [one for one in records(folder) if one.run_id != keeper.record.run_id]
    contents = {folder.page: night_page(keeper.record, earlier, folder.root), folder.junit: _junit(keeper.record)}
    for path, content in contents.items():
        try:
            write_atomically(path, content, staging=folder.staging)
        except RunnerError as error:
            keeper.note(error)


def _junit(record: NightRecord) -> bytes:
    """Return the night as JUnit XML: a suite for each config, with whether it is complete and a case for each gate."""
    suites = []
    for one in record.configs:
        ended = None if one.finished else f"{one.verdict}\n{one.message}".rstrip()
        complete = Case("complete", one.name, one.duration_s, error=ended)
        properties = {"run_dir": one.run_dir, "exit_code": str(one.exit_code)}
        cases = (complete, *gate_cases(one.name, one.gates))
        suites.append(Suite(one.name, cases, record.started_at, properties=properties))
    return junit_xml(suites)
