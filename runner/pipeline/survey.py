"""Owns surveying: a config and its dataset, read and compared with what is done, before anything is written or sent."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import DatasetError
from runner.folder.commits import CommitLog, read_commits
from runner.pipeline.locate import locate
from runner.pipeline.passes.again import find_again
from runner.pipeline.passes.produce import Production, find_unrenderable
from runner.pipeline.passes.scan import ScanPlan, scan_dataset
from runner.pipeline.passes.scancache import scan_again
from runner.pipeline.passes.shuffle import take_subset
from runner.pipeline.passes.todo import find_todo
from runner.pipeline.probe.checked import refuse_missing
from runner.pipeline.requests.prepare import prepare
from runner.pipeline.scores.scoring import scorers_for
from runner.readers import source_kinds, spool_stdin

if TYPE_CHECKING:
    from runner.config import RunConfig
    from runner.endpoints.adapter import Adapter
    from runner.folder.layout import RunFolder
    from runner.pipeline.locate import Located, Where
    from runner.pipeline.passes.again import Again
    from runner.pipeline.passes.scan import BadPlace, Scan
    from runner.pipeline.requests.prepare import Prepared


def prepare_and_scan(
    config: RunConfig,
    spooled: Path | None = None,
    remembered: RunFolder | None = None,
    kept: Adapter | None = None,
) -> tuple[Prepared, Scan, ScanPlan]:
    """Prepare a config and read its dataset once, or only what is new in it where a run folder remembers the rest.

    `kept` replaces the adapter that the config names. Raises DatasetError for bad rows unless they are skipped,
    ConfigError for scorers that cannot be made.
    """
    prepared = prepare(config, spooled, kept)
    refuse_missing(prepared, datetime.now(UTC))
    dataset = config.dataset
    scan_plan = ScanPlan(
        paths=prepared.paths,
        plan=prepared.plan,
        limit=None if dataset.shuffle_seed is not None else dataset.limit,
        kinds=dataset.types,
        source=source_kinds(prepared.paths),
    )
    scan = (scan_again(remembered, scan_plan) if remembered else None) or scan_dataset(scan_plan)
    if scan.bad_rows and dataset.on_bad_row == "stop":
        raise bad_rows_error(scan.bad_shown, scan.bad_rows)
    if dataset.shuffle_seed is not None and dataset.limit is not None:
        scan = take_subset(scan, dataset.shuffle_seed, dataset.limit)
    scorers_for(config, scan.columns)
    return prepared, scan, scan_plan


def bad_rows_error(shown: tuple[BadPlace, ...], count: int) -> DatasetError:
    """Return the error that lists rows which cannot be used."""
    lines = "\n".join(f"  {place.source}: {place.reason}" for place in shown)
    more = f"\n  … and {count - len(shown)} more" if count > len(shown) else ""
    return DatasetError(
        f"{count} row{'s' if count > 1 else ''} of the dataset cannot be used:\n{lines}{more}",
        hint="mend them, or set dataset.on_bad_row: skip to leave them out",
    )


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a dry run found: the plan as it stands, which folder it would go to, and what would be sent again."""

    prepared: Prepared
    scan: Scan
    production: Production
    located: Located
    again: Again | None = None


def rehearse(config: RunConfig, where: Where, only: tuple[str, ...] = ()) -> Rehearsal:
    """Do everything but writing and sending; `only` as in `RunOptions`. Raises as `run` does."""
    located = locate(config, where, datetime.now(UTC))
    spooled = None
    if config.dataset.path == "-":
        spooled = spool_stdin(sys.stdin.buffer, Path(tempfile.mkdtemp(prefix="evalrunner-")))
    prepared, scan, _ = prepare_and_scan(config, spooled, located.folder)
    log = read_commits(located.folder) if located.manifest else CommitLog(located.folder)
    again = find_again(scan.index, log, prepared.plan.repeats, only) if only else None
    production = production_of(prepared, scan, log, again)
    refuse_unrenderable(production)
    return Rehearsal(prepared, scan, production, located, again)


def production_of(prepared: Prepared, scan: Scan, log: CommitLog, again: Again | None = None) -> Production:
    """Return what is left to do of a scanned dataset, or what of it is sent again."""
    dataset = prepared.config.dataset
    return Production(
        paths=prepared.paths,
        plan=prepared.plan,
        index=scan.index,
        todo=again.todo if again else find_todo(scan.index, log, prepared.plan.repeats),
        shuffle_seed=dataset.shuffle_seed,
        skip_bad_rows=dataset.on_bad_row == "skip",
    )


def refuse_unrenderable(production: Production) -> None:
    """Raise DatasetError for rows left to do whose templates fail."""
    found = find_unrenderable(production)
    if found:
        raise bad_rows_error(tuple(found), len(found))
