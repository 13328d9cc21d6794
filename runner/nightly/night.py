"""Owns the order of a night: which one it is, its configs one by one, then what is kept, shown and told."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from runner.durable import create_folder
from runner.errors import CannotCreateError, UsageError
from runner.nightly.conclude import conclude
from runner.nightly.dates import date_of, dates_between, night_at, run_id_of
from runner.nightly.outcome import FAILURE, GOOD, REGRESSION
from runner.nightly.record import ConfigRecord, NightRecord, read_record, records
from runner.nightly.suitelock import hold_suite
from runner.nightly.telling import tell_of_none
from runner.nightly.turns import Keeper, take_turns
from runner.nightly.verdict import exit_code_of
from runner.nightly.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, datetime

    from runner.nightly.dates import Night
    from runner.nightly.suite import Suite

_CONCLUDED = (GOOD, REGRESSION, FAILURE)


@dataclass(frozen=True, slots=True)
class NightOptions:
    """Which night: that of a date, which has to exist, or the one that is now. `say` takes messages."""

    date: date | None = None
    say: Callable[[str], None] = lambda _: None


def run_night(suite: Suite, options: NightOptions, ways: Ways | None = None) -> NightRecord:
    """Carry out a night, or what is left of it, and return its record; `exit_code` is in it.

    Raises BusyError where another process is at it, UsageError for a date that has no night, CannotCreateError where
    the suite has no folder: then whom the configs name is told so, too. All that fails later is in the record.
    """
    ways = ways or Ways()
    now = ways.now()
    try:
        for folder in (suite.folder.root, suite.folder.staging, suite.folder.nights):
            create_folder(folder)
    except CannotCreateError as error:
        tell_of_none(suite, _begun(suite, night_at(now, suite.zone, suite.deadline), now, []), error)
        raise
    with hold_suite(suite.folder, now):
        _sweep_staging(suite)
        record = _chosen(suite, now, options.date)
        keeper = Keeper(suite, record, options.say)
        if record.ended_at is not None and record.finished and record.exit_code == exit_code_of(record.configs, ()):
            options.say(f"{record.run_id} is finished; nothing is left to do")
            return record
        record.ended_at, record.troubles = None, []
        keeper.save()
        take_turns(keeper, ways)
        conclude(keeper, ways)
    return record


def _sweep_staging(suite: Suite) -> None:
    with suppress(OSError):  # what cannot be removed is in nobody's way
        for path in suite.folder.staging.iterdir():
            path.unlink(missing_ok=True)


def _chosen(suite: Suite, now: datetime, wanted: date | None) -> NightRecord:
    """Return the record of the night that is meant, with its end in the future.

    A night that is not finished goes on until its end, also after midnight; after it, by its date alone.
    """
    night = night_at(now, suite.zone, suite.deadline)
    known = list(records(suite.folder))
    if wanted is not None:
        found = read_record(suite.folder, run_id_of(wanted))
        if found is None:
            hint = "a night that was missed cannot be made up: the model that answered then is not there any more"
            raise UsageError(f"--date {wanted}: {suite.name} has no night of that date", hint=hint)
        return _continued(found, night, now)
    newest = known[0] if known else None
    if newest is not None and newest.run_id != night.run_id and not newest.finished and now < newest.end:
        return _continued(newest, night, now)
    own = next((one for one in known if one.run_id == night.run_id), None)
    return _continued(own, night, now) if own is not None else _begun(suite, night, now, known)


def _continued(record: NightRecord, night: Night, now: datetime) -> NightRecord:
    if now >= record.end:
        record.ends_at = night.ends_at.isoformat(timespec="seconds")
    for one in record.configs:
        if one.state in _CONCLUDED and not one.finished:
            one.before = one.state
    return record


def _begun(suite: Suite, night: Night, now: datetime, known: list[NightRecord]) -> NightRecord:
    before: dict[str, str] = {}
    for earlier in known:
        for one in earlier.configs:
            if one.state in _CONCLUDED:
                before.setdefault(one.name, one.state)
    last = date_of(known[0].run_id) if known else None
    return NightRecord(
        suite=suite.name,
        run_id=night.run_id,
        date=night.date.isoformat(),
        time_zone=str(suite.zone),
        started_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        ends_at=night.ends_at.isoformat(timespec="seconds"),
        missed=[one.isoformat() for one in (dates_between(last, night.date) if last else ())],
        cut_off=[one.run_id for one in known if one.ended_at is None],
        configs=[
            ConfigRecord(
                name=member.config.name,
                config=str(member.path),
                run_dir=str(member.runs / night.run_id),
                log=str(suite.folder.log(night.run_id, member.config.name)),
                before=before.get(member.config.name),
            )
            for member in suite.members
        ],
    )
